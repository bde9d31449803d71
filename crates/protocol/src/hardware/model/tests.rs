use super::*;

fn likeness(wanted: &str, name: &str) -> Likeness {
    WantedModel::parse(wanted).likeness(name, None)
}

#[test]
fn a_model_names_its_gpu_in_every_spelling_and_form_that_it_is_sold_in() {
    for (wanted, name) in [
        ("A100", "NVIDIA A100-SXM4-80GB"),
        ("a100", "NVIDIA A100 80GB PCIe"),
        ("A100", "A100-PCIE-40GB"),
        ("A100-80GB", "NVIDIA A100 80GB PCIe"),
        ("A100 80 GB", "NVIDIA A100-SXM4-80GB"),
        ("A100-SXM", "NVIDIA A100-SXM4-80GB"),
        ("NVIDIA A100", "A100-SXM4-40GB"),
        ("A10", "NVIDIA A10"),
        ("A10G", "NVIDIA A10G"),
        ("H100", "NVIDIA H100 80GB HBM3"),
        ("H100", "NVIDIA H100 PCIe"),
        ("H100 PCIe", "NVIDIA H100 PCIe"),
        ("H100", "NVIDIA H100 NVL"),
        ("h200", "NVIDIA H200"),
        ("H200", "NVIDIA H200 NVL"),
        ("GH200", "NVIDIA GH200 480GB"),
        ("GH200", "NVIDIA GH200 144G HBM3e"),
        ("B200", "NVIDIA B200"),
        ("B300", "NVIDIA B300 SXM6 AC"),
        ("L4", "NVIDIA L4"),
        ("L40S", "NVIDIA L40S"),
        ("T4", "Tesla T4"),
        ("NVIDIA T4", "Tesla T4"),
        ("Tesla V100", "Tesla V100-SXM2-32GB"),
        ("T400", "NVIDIA T400 4GB"),
        ("A6000", "NVIDIA RTX A6000"),
        ("RTX A6000", "NVIDIA RTX A6000"),
        ("rtxa6000", "NVIDIA RTX A6000"),
        ("RTX 6000", "Quadro RTX 6000"),
        ("RTX 6000 Ada", "NVIDIA RTX 6000 Ada Generation"),
        ("RTX6000Ada", "NVIDIA RTX 6000 Ada Generation"),
        ("RTX 6000 Ada Generation", "NVIDIA RTX 6000 Ada Generation"),
        ("RTX PRO 6000", "NVIDIA RTX PRO 6000 Blackwell Server Edition"),
        ("RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("RTX4090", "NVIDIA GeForce RTX 4090"),
        ("4090", "NVIDIA GeForce RTX 4090"),
        ("rtx_4090", "NVIDIA GeForce RTX 4090"),
        ("4090D", "NVIDIA GeForce RTX 4090 D"),
        ("RTX 4090 Laptop", "NVIDIA GeForce RTX 4090 Laptop GPU"),
        ("RTX 3080 Ti", "NVIDIA GeForce RTX 3080 Ti"),
        ("3080ti", "NVIDIA GeForce RTX 3080 Ti"),
        ("GTX 1060", "NVIDIA GeForce GTX 1060 6GB"),
        ("GeForce", "NVIDIA GeForce RTX 3080 Ti"),
        ("nvidia", "NVIDIA H200"),
        ("TITAN V", "NVIDIA TITAN V"),
    ] {
        assert_eq!(likeness(wanted, name), Likeness::Same, "{wanted} for {name}");
    }
}

#[test]
fn a_model_never_names_another_product_whose_name_has_the_same_letters() {
    for (wanted, name) in [
        ("A10", "NVIDIA A100-SXM4-80GB"),
        ("A10", "NVIDIA A10G"),
        ("A100", "NVIDIA RTX A1000"),
        ("A100", "NVIDIA A100X"),
        ("A1000", "NVIDIA A100-SXM4-80GB"),
        ("H200", "NVIDIA GH200 480GB"),
        ("H20", "NVIDIA H200"),
        ("B200", "NVIDIA GB200"),
        ("L4", "NVIDIA L40S"),
        ("L4", "NVIDIA L40"),
        ("L40", "NVIDIA L40S"),
        ("T4", "NVIDIA T400 4GB"),
        ("V100", "Tesla V100S-PCIE-32GB"),
        ("6000", "NVIDIA RTX A6000"),
        ("A100 80GB", "NVIDIA A100-SXM4-40GB"),
        ("H100 PCIe", "NVIDIA H100 80GB HBM3"),
        ("RTX 4090 D", "NVIDIA GeForce RTX 4090"),
        ("GTX 4090", "NVIDIA GeForce RTX 4090"),
        ("H200", "AMD MI300X"),
    ] {
        assert_eq!(likeness(wanted, name), Likeness::Other, "{wanted} for {name}");
    }
}

#[test]
fn a_name_that_says_more_is_close_and_not_the_same() {
    for (wanted, name) in [
        ("RTX 4090", "NVIDIA GeForce RTX 4090 D"),
        ("4090", "NVIDIA GeForce RTX 4090D"),
        ("RTX 4090", "NVIDIA GeForce RTX 4090 Laptop GPU"),
        ("RTX 2080", "NVIDIA GeForce RTX 2080 with Max-Q Design"),
        ("RTX 3080", "NVIDIA GeForce RTX 3080 Ti"),
        ("RTX 4070 Ti", "NVIDIA GeForce RTX 4070 Ti SUPER"),
        ("RTX 6000", "NVIDIA RTX 6000 Ada Generation"),
        ("RTX 6000", "NVIDIA RTX PRO 6000 Blackwell Workstation Edition"),
        ("RTX PRO 6000", "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition"),
        ("RTX 4000 Ada", "NVIDIA RTX 4000 SFF Ada Generation"),
        ("A40", "GRID A40"),
    ] {
        assert_eq!(likeness(wanted, name), Likeness::Close, "{wanted} for {name}");
    }
}

#[test]
fn memory_in_a_wish_is_read_off_the_gpu_where_its_name_has_none() {
    let l4 = Some(Bytes(24_152_899_584));
    assert!(WantedModel::parse("L4 24GB").is("NVIDIA L4", l4));
    assert!(!WantedModel::parse("L4 48GB").is("NVIDIA L4", l4));
    assert!(!WantedModel::parse("L4 16GB").is("NVIDIA L4", l4));
    assert!(WantedModel::parse("H200 141GB").is("NVIDIA H200", Some(Bytes::mebi(143_771))));
}

#[test]
fn an_instance_is_named_by_its_profile_and_the_whole_gpu_never_names_it() {
    let slice = "NVIDIA A100-SXM4-80GB MIG 1g.10gb";
    for wanted in
        ["MIG 1g.10gb", "1g.10gb", "A100 MIG 1g.10gb", "mig-1g.10gb", "NVIDIA A100-SXM4-80GB MIG 1g.10gb"]
    {
        assert_eq!(likeness(wanted, slice), Likeness::Same, "{wanted}");
    }
    for wanted in ["A100", "A100 80GB", "nvidia", "MIG", "A100 MIG", "MIG 2g.20gb", "H100 MIG 1g.10gb"] {
        assert_eq!(likeness(wanted, slice), Likeness::Other, "{wanted}");
    }
    assert_eq!(likeness("MIG 1g.10gb", "NVIDIA A100-SXM4-80GB"), Likeness::Other);
    assert_eq!(likeness("MIG 3g.20gb", "NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb"), Likeness::Other);
    assert!(WantedModel::parse("A100 MIG").lacks_profile());
}
