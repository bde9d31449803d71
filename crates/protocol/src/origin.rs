//! Where a message or a connection came from, as limits count it.

use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address, or an IPv6 /64, which a single machine is given whole and can use every address of: the first eight
/// bytes of the IPv6 address, or `0:0:ffff` and the IPv4 address. An IPv4 address that is written as an IPv6 one is the
/// IPv4 address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Origin(pub [u8; 8]);

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                Self([0, 0, 0xff, 0xff, a, b, c, d])
            }
            IpAddr::V6(address) => Self::network_of(address),
        }
    }
}

impl Origin {
    fn network_of(address: Ipv6Addr) -> Self {
        let [network @ .., _, _, _, _, _, _, _, _] = address.octets();
        Self(network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(address: &str) -> Origin {
        Origin::from(address.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn all_addresses_of_a_64_are_one_and_those_of_another_are_not() {
        assert_eq!(origin("2001:db8:1:2:3:4:5:6"), origin("2001:db8:1:2:ffff::1"));
        assert_ne!(origin("2001:db8:1:2::1"), origin("2001:db8:1:3::1"));
    }

    #[test]
    fn an_ipv4_address_counts_alone_also_in_ipv6_clothes() {
        assert_eq!(origin("10.1.2.3"), Origin([0, 0, 0xff, 0xff, 10, 1, 2, 3]));
        assert_eq!(origin("::ffff:10.1.2.3"), origin("10.1.2.3"));
        assert_ne!(origin("10.1.2.4"), origin("10.1.2.3"));
    }
}
