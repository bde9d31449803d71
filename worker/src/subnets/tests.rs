use super::*;

fn block(text: &str) -> Ipv4Block {
    text.parse().unwrap()
}

fn blocks(texts: &[&str]) -> Vec<Ipv4Block> {
    texts.iter().map(|text| block(text)).collect()
}

fn free(ranges: &str, networks: &[&str], routes: &[&str], from: u64) -> Option<String> {
    let subnets: Subnets = ranges.parse().unwrap();
    subnets.free_part(&blocks(networks), &blocks(routes), from).map(|part| part.to_string())
}

#[test]
fn a_range_names_its_first_address_and_holds_at_least_one_network() {
    for wrong in [
        "",
        "10.213.0.0",
        "10.213.0.1/16",
        "10.213.0.0/33",
        "10.213/16",
        "x/8",
        "10.213.0.0/30",
        "10.0.0.0/8,",
    ] {
        assert!(wrong.parse::<Subnets>().is_err(), "{wrong:?}");
    }
    assert_eq!("10.213.0.0/16".parse::<Subnets>().unwrap(), Subnets::default());
    assert_eq!(Subnets::default().count(), 8_192);
    let two: Subnets = "10.1.0.0/28, 10.2.0.0/29".parse().unwrap();
    assert_eq!((two.count(), two.to_string().as_str()), (3, "10.1.0.0/28, 10.2.0.0/29"));
    assert_eq!("0.0.0.0/0".parse::<Subnets>().unwrap().count(), 1 << 29);
}

#[test]
fn networks_and_routes_in_the_range_are_stepped_over() {
    assert_eq!(free("10.1.0.0/28", &[], &[], 0).as_deref(), Some("10.1.0.0/29"));
    assert_eq!(free("10.1.0.0/28", &["10.1.0.0/29"], &[], 0).as_deref(), Some("10.1.0.8/29"));
    assert_eq!(free("10.1.0.0/28", &[], &["10.1.0.4/32"], 0).as_deref(), Some("10.1.0.8/29"));
    assert_eq!(free("10.1.0.0/28", &["10.1.0.0/30"], &["10.1.0.12/30"], 0), None, "parts of both are taken");
    assert_eq!(
        free("10.1.0.0/24", &["10.1.0.0/25"], &["10.1.0.128/26"], 3).as_deref(),
        Some("10.1.0.192/29")
    );
}

#[test]
fn free_parts_are_counted_in_every_range() {
    let subnets: Subnets = "10.1.0.0/27,10.2.0.0/29".parse().unwrap();
    assert_eq!(subnets.free(&[], &[]), 5);
    assert_eq!(subnets.free(&blocks(&["10.1.0.0/28"]), &blocks(&["10.2.0.2/32", "10.0.0.0/8"])), 2);
    assert_eq!(subnets.free(&blocks(&["10.0.0.0/8"]), &[]), 0);
}

#[test]
fn the_search_goes_round_and_through_every_range() {
    let ranges = "10.1.0.0/28,10.2.0.0/29";
    assert_eq!(free(ranges, &[], &[], 2).as_deref(), Some("10.2.0.0/29"));
    assert_eq!(free(ranges, &[], &[], 4).as_deref(), Some("10.1.0.8/29"));
    assert_eq!(free(ranges, &["10.2.0.0/29"], &[], 2).as_deref(), Some("10.1.0.0/29"));
    assert_eq!(free(ranges, &["10.2.0.0/29", "10.1.0.0/28"], &[], 2), None);
    assert!(free(ranges, &[], &[], u64::MAX).is_some());
}

#[test]
fn a_route_beyond_the_range_takes_nothing_and_a_network_there_takes_all() {
    let wide = ["0.0.0.0/0", "10.0.0.0/8", "0.0.0.0/1"];
    assert_eq!(free("10.1.0.0/28", &[], &wide, 0).as_deref(), Some("10.1.0.0/29"));
    assert_eq!(free("10.1.0.0/28", &[], &["10.1.0.0/28"], 0), None, "somebody has this very range");
    assert_eq!(free("10.1.0.0/28", &["10.0.0.0/8"], &[], 0), None, "the engine refuses what overlaps");
}

#[test]
fn all_networks_of_a_range_are_different_and_none_is_left_afterwards() {
    let subnets: Subnets = "10.1.0.0/24".parse().unwrap();
    let mut taken = Vec::new();
    while let Some(part) = subnets.free_part(&taken, &[], taken.len() as u64 * 7) {
        assert!(block("10.1.0.0/24").holds(part) && !taken.contains(&part), "{part}");
        taken.push(part);
    }
    assert_eq!(taken.len(), 32);
}

#[test]
fn the_kernel_s_table_of_routes_is_read() {
    let number = |text: &str| {
        let address: Ipv4Addr = text.parse().unwrap();
        format!("{:08X}", u32::from_ne_bytes(address.octets()))
    };
    let line = |interface: &str, destination: &str, mask: &str| {
        format!("{interface}\t{}\t00000000\t0001\t0\t0\t0\t{}\t0\t0\t0\n", number(destination), number(mask))
    };
    let table = format!(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n{}{}{}",
        line("eth0", "0.0.0.0", "0.0.0.0"),
        line("docker0", "172.17.0.0", "255.255.0.0"),
        line("br-1", "10.213.0.8", "255.255.255.248"),
    );
    assert_eq!(routes_of(&table), blocks(&["0.0.0.0/0", "172.17.0.0/16", "10.213.0.8/29"]));
    assert_eq!(routes_of("nonsense\n"), []);
}

#[test]
fn the_configuration_takes_one_range_or_a_list() {
    let read = |value: serde_json::Value| serde_json::from_value::<Subnets>(value);
    let two = read(serde_json::json!(["10.1.0.0/16", "10.2.0.0/16"])).unwrap();
    assert_eq!(two, read(serde_json::json!("10.1.0.0/16, 10.2.0.0/16")).unwrap());
    for wrong in [serde_json::json!([]), serde_json::json!(10), serde_json::json!(["10.1.0.1/16"])] {
        assert!(read(wrong).is_err());
    }
}
