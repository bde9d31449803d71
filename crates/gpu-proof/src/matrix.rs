//! GEMM: `C = A · B`, exact in int32.
//!
//! A row of A is a row of the dataset XORed with the session's pad; B is stored transposed (`Bt`, one row per
//! column of C), the ChaCha8 key stream of the epoch. Both are dense and use the full range of int8, so neither
//! sparsity nor narrower number formats nor Strassen-like sums help. `|C[i,j]| ≤ k·2^14 ≤ 2^30`.

use crate::digest::Digest;
use crate::lines::{Line, LineKey, line_bytes};
use crate::params::Params;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Row `column` of `Bt` (that is: a column of B) as raw bytes; entry t is `bytes[t] as i8`.
pub(crate) fn fill_column(matrix_key: &Digest, column: u64, bytes: &mut [u8]) {
    let mut stream = ChaCha8Rng::from_seed(matrix_key.0);
    stream.set_stream(column);
    stream.fill_bytes(bytes);
}

/// The whole of `Bt`: `width` rows of `depth` bytes.
pub(crate) fn transposed_matrix(params: &Params, matrix_key: &Digest) -> Vec<u8> {
    let depth = params.depth as usize;
    let mut matrix = vec![0; depth * params.width as usize];
    for (column, bytes) in (0..).zip(matrix.chunks_exact_mut(depth)) {
        fill_column(matrix_key, column, bytes);
    }
    matrix
}

/// A row of A from the lines of the dataset.
#[inline(always)]
pub(crate) fn padded_row(params: &Params, key: &LineKey, pad: &[u8; 64], row: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(params.depth as usize);
    let lines = params.lines_per_row();
    key.for_each(row * lines, lines, params.line_rounds, |line| {
        extend_padded(&mut bytes, line, pad);
    });
    bytes
}

/// Appends one line, XORed with the pad.
#[inline(always)]
pub(crate) fn extend_padded(row: &mut Vec<u8>, line: &Line, pad: &[u8; 64]) {
    let mut bytes = line_bytes(line);
    for (byte, mask) in bytes.iter_mut().zip(pad) {
        *byte ^= mask;
    }
    row.extend_from_slice(&bytes);
}

/// A row of C: the product of a row of A with all of `Bt`.
#[inline(always)]
pub(crate) fn product_row(row: &[u8], transposed: &[u8]) -> Vec<i32> {
    let mut product = Vec::with_capacity(transposed.len() / row.len().max(1));
    for column in transposed.chunks_exact(row.len().max(1)) {
        product.push(dot(row, column));
    }
    product
}

/// Whether `entries` are the product of a row of A with all of B, by computing it; columns are made one by one.
#[inline(always)]
pub(crate) fn is_product(row: &[u8], matrix_key: &Digest, entries: &[i32]) -> bool {
    let mut column = vec![0; row.len()];
    for (index, entry) in (0..).zip(entries) {
        fill_column(matrix_key, index, &mut column);
        if dot(row, &column) != *entry {
            return false;
        }
    }
    true
}

/// Exact: at most 2^16 products of at most 2^14 each. Products are made in 16 bits, which int8 factors cannot
/// leave, so that compilers find the multiply-and-add-pairs instruction.
#[inline(always)]
fn dot(left: &[u8], right: &[u8]) -> i32 {
    let mut sum = 0_i32;
    for (x, y) in left.iter().zip(right) {
        sum =
            sum.wrapping_add(i32::from(i16::from(x.cast_signed()).wrapping_mul(i16::from(y.cast_signed()))));
    }
    sum
}

/// The little-endian bytes of a row of C: the content of its Merkle leaf.
pub(crate) fn row_bytes(row: &[i32]) -> Vec<u8> {
    row.iter().flat_map(|entry| entry.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_exact_at_the_extremes_of_int8_and_depth() {
        let lowest = vec![0x80; 1 << 16];
        assert_eq!(product_row(&lowest, &lowest), [1 << 30]);
        let highest = vec![0x7f; 1 << 16];
        assert_eq!(product_row(&lowest, &highest), [-128 * 127 * 65_536]);
    }

    #[test]
    fn the_product_equals_the_definition() {
        let params = Params { width: 16, ..Params::TINY };
        let matrix = transposed_matrix(&params, &Digest([7; 32]));
        let row: Vec<u8> = (0..128).map(|t| (t * 37) as u8).collect();
        let product = product_row(&row, &matrix);
        for (j, entry) in product.iter().enumerate() {
            let sum: i64 =
                (0..128).map(|t| i64::from(row[t] as i8) * i64::from(matrix[j * 128 + t] as i8)).sum();
            assert_eq!(i64::from(*entry), sum);
        }
    }

    #[test]
    fn columns_of_the_matrix_differ_from_each_other() {
        let matrix = transposed_matrix(&Params::TINY, &Digest([7; 32]));
        let columns: std::collections::HashSet<_> = matrix.chunks(128).collect();
        assert_eq!(columns.len(), 256);
    }
}
