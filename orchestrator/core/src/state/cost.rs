//! Arithmetic of prices. Usage times price is kept exactly and divided once, where an amount is needed: receipts round
//! down, everything that guards a budget rounds up.

use lode_protocol::amount::Amount;
use lode_protocol::units::Millis;
use lode_protocol::usage::MILLIS_PER_HOUR;
use minicbor::{Decode, Encode};

/// GPU-milliseconds times price per GPU and hour.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct Cost(#[n(0)] Amount);

impl Cost {
    pub(crate) const ZERO: Cost = Cost(Amount::ZERO);

    pub(crate) fn of(gpu_millis: u64, price_per_gpu_hour: Amount) -> Cost {
        Cost(price_per_gpu_hour.saturating_mul(gpu_millis))
    }

    pub(crate) fn plus(self, other: Cost) -> Cost {
        Cost(self.0.saturating_add(other.0))
    }

    pub(crate) fn minus(self, other: Cost) -> Cost {
        Cost(Amount(self.0.0.saturating_sub(other.0.0)))
    }

    pub(crate) fn rounded_up(self) -> Amount {
        Amount(self.0.0.div_ceil(MILLIS_PER_HOUR))
    }

    pub(crate) fn rounded_down(self) -> Amount {
        Amount(self.0.0 / MILLIS_PER_HOUR)
    }
}

/// What something that costs `rate` per hour costs in this time, rounded up.
pub(crate) fn over(rate: Amount, time: Millis) -> Amount {
    Cost::of(time.0, rate).rounded_up()
}

/// How long something that costs `rate` per hour lasts; `None`: for ever.
pub(crate) fn lasts(money: Amount, rate: Amount) -> Option<Millis> {
    let millis = money.0.saturating_mul(MILLIS_PER_HOUR).checked_div(rate.0)?;
    Some(Millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_costs_its_rate_and_a_part_of_a_unit_counts_as_one_where_budgets_are_guarded() {
        assert_eq!(over(Amount::tokens(3), Millis::seconds(1_200)), Amount::tokens(1));
        let little = Cost::of(1, Amount(1));
        assert_eq!((little.rounded_up(), little.rounded_down()), (Amount(1), Amount(0)));
        assert_eq!(little.minus(Cost::of(2, Amount(1))), Cost::ZERO);
    }

    #[test]
    fn money_lasts_until_it_is_used_up_and_for_ever_where_nothing_costs() {
        assert_eq!(lasts(Amount::tokens(1), Amount::tokens(2)), Some(Millis::seconds(1_800)));
        assert_eq!(lasts(Amount::tokens(1), Amount::ZERO), None);
    }
}
