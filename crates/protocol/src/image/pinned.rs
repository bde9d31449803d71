//! A reference that says exactly which bytes are meant.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

use super::{ImageDigest, ImageReference, ImageReferenceError};

/// `name@sha256:…`: on the wire and in stores a text, checked when it is decoded.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PinnedImage {
    reference: ImageReference,
    digest: ImageDigest,
}

impl PinnedImage {
    /// The content of a repository that has this digest.
    #[must_use]
    pub fn new(repository: &ImageReference, digest: ImageDigest) -> Self {
        let reference = ImageReference { tag: None, digest: Some(digest.clone()), ..repository.clone() };
        Self { reference, digest }
    }

    /// As a reference.
    pub fn reference(&self) -> &ImageReference {
        &self.reference
    }

    /// The content.
    pub fn digest(&self) -> &ImageDigest {
        &self.digest
    }
}

impl FromStr for PinnedImage {
    type Err = ImageReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let reference: ImageReference = text.parse()?;
        let digest = reference.digest().cloned().ok_or(ImageReferenceError::Digest)?;
        Ok(Self::new(&reference, digest))
    }
}

impl fmt::Display for PinnedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reference.fmt(f)
    }
}

impl<C> Encode<C> for PinnedImage {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.str(&self.to_string())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for PinnedImage {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let at = decoder.position();
        decoder.str()?.parse().map_err(|_| minicbor::decode::Error::message("no image with a digest").at(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{decode, encode};

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn what_is_pinned_travels_as_text_and_anything_else_is_refused_when_it_is_decoded() {
        let pinned: PinnedImage = format!("r.example/a:1@{DIGEST}").parse().unwrap();
        assert_eq!(pinned.to_string(), format!("r.example/a@{DIGEST}"), "the tag counts for nothing");
        assert_eq!(decode::<String>(&encode(&pinned)).unwrap(), pinned.to_string());
        assert_eq!(decode::<PinnedImage>(&encode(&pinned)).unwrap(), pinned);
        let paths = format!("../images/get?names=a@{DIGEST}");
        for text in ["i:1", "i@sha256:1", "", DIGEST, &paths] {
            assert!(decode::<PinnedImage>(&encode(&text)).is_err(), "{text}");
        }
    }
}
