//! Who reaches whom: the policies are evaluated here as a network plug-in would evaluate them.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::{EVERYTHING, ValuesFile, list, no_helm, render, renderings, text};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn in_range(cidr: &str, address: IpAddr) -> bool {
    let (base, bits) = cidr.split_once('/').unwrap();
    let bits: u32 = bits.parse().unwrap();
    match (ip(base), address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            bits == 0 || (u32::from(base) ^ u32::from(address)) >> (32 - bits) == 0
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            bits == 0 || (u128::from(base) ^ u128::from(address)) >> (128 - bits) == 0
        }
        _ => false,
    }
}

/// Whether a policy lets its pods reach an address outside on a port.
fn reaches(policy: &Value, address: &str, port: u64) -> bool {
    list(&policy["spec"]["egress"]).any(|rule| {
        let ports = list(&rule["ports"]).any(|one| one["port"] == port);
        let peers = list(&rule["to"]).any(|peer| {
            let block = &peer["ipBlock"];
            block.is_object()
                && in_range(text(&block["cidr"]), ip(address))
                && !list(&block["except"]).any(|except| in_range(text(except), ip(address)))
        });
        let everybody = list(&rule["to"]).count() == 0;
        (ports || rule["ports"].is_null()) && (peers || everybody)
    })
}

#[test]
fn sec_1_fetchers_reach_the_outside_and_no_private_or_metadata_address_and_others_nothing() {
    if no_helm() {
        return;
    }
    let private = [
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "127.0.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "fd00:ec2::254",
        "fe80::1",
        "fc00::1",
        "::1",
        "::ffff:10.0.0.1",
        "ff02::1",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ];
    for (values, chart) in renderings() {
        for policy in chart.of_kind("NetworkPolicy") {
            let name = text(&policy["metadata"]["name"]);
            let at = format!("{values}: {name}");
            assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]), "{at}");
            let fetcher = name.ends_with("-fetcher");
            for (address, port) in [("93.184.216.34", 443), ("2606:2800:220:1::1", 443), ("93.184.216.34", 80)] {
                assert_eq!(reaches(policy, address, port), fetcher, "{at}: {address}:{port}");
            }
            assert!(!reaches(policy, "93.184.216.34", 22), "{at}");
            for address in private {
                for port in [80, 443, 8123, 9092, 6443] {
                    assert!(!reaches(policy, address, port), "{at} reaches {address}:{port}");
                }
            }
            for rule in list(&policy["spec"]["egress"]).chain(list(&policy["spec"]["ingress"])) {
                assert!(list(&rule["ports"]).count() > 0, "{at}: a rule for every port: {rule}");
            }
            for rule in list(&policy["spec"]["egress"]) {
                assert!(list(&rule["to"]).count() > 0, "{at}: a rule for every address: {rule}");
            }
        }
    }
    let everything = ValuesFile::new(EVERYTHING);
    let chart = render(&[everything.path()], &[]).unwrap();
    let fetcher = chart.object("NetworkPolicy", "tracking-fetcher").unwrap();
    for (address, port, wanted) in [
        ("203.0.113.9", 443, false),
        ("2001:db8::1", 443, false),
        ("192.0.2.7", 9093, true),
        ("198.51.100.7", 8443, false),
    ] {
        assert_eq!(reaches(fetcher, address, port), wanted, "{address}:{port}");
    }
    let collector = json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "monitoring" } } });
    let traces = json!({ "to": [collector], "ports": [{ "protocol": "TCP", "port": 4318 }] });
    assert!(list(&fetcher["spec"]["egress"]).any(|rule| *rule == traces), "traces get through: {fetcher}");
    let store = chart.object("NetworkPolicy", "tracking-store").unwrap();
    assert!(reaches(store, "198.51.100.7", 8443) && reaches(store, "192.0.2.7", 9093), "{store}");
}

#[test]
fn kafka_and_clickhouse_are_reached_where_their_names_say() {
    if no_helm() {
        return;
    }
    let peers = |brokers: &str| {
        let set = format!("kafka.brokers={}", brokers.replace(',', "\\,"));
        let chart = render(&[], &[&set]).unwrap();
        let policy = chart.object("NetworkPolicy", "waybill-scheduler").unwrap();
        policy["spec"]["egress"][1].clone()
    };
    let namespace =
        |name: &str| json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } });
    for (brokers, wanted, port) in [
        ("kafka:9092", "shop", 9092),
        ("kafka", "shop", 9092),
        ("kafka.infra:9094", "infra", 9094),
        ("kafka-0.kafka.infra.svc:9092,kafka-1.kafka.infra.svc:9092", "infra", 9092),
        ("kafka-0.kafka.data.svc.cluster.local:9093", "data", 9093),
    ] {
        let rule = peers(brokers);
        assert_eq!(rule["to"], json!([namespace(wanted)]), "{brokers}");
        assert_eq!(rule["ports"], json!([{ "protocol": "TCP", "port": port }]), "{brokers}");
    }
    // Only who needs ClickHouse reaches it, on the address's port.
    for (address, port) in [
        ("http://clickhouse.warehouse:8123", 8123),
        ("http://clickhouse.warehouse", 80),
        ("https://clickhouse.warehouse:8443", 8443),
        ("https://clickhouse.warehouse", 443),
    ] {
        let chart = render(&[], &[&format!("clickhouse.url={address}")]).unwrap();
        let rule = json!({ "to": [namespace("warehouse")], "ports": [{ "protocol": "TCP", "port": port }] });
        for policy in chart.of_kind("NetworkPolicy") {
            let name = text(&policy["metadata"]["name"]);
            let reaches = list(&policy["spec"]["egress"]).any(|one| *one == rule);
            assert_eq!(reaches, policy.to_string().contains("warehouse"), "{address}: {name}");
            let needs = ["-store", "-api", "-setup"].iter().any(|end| name.ends_with(end));
            assert_eq!(reaches, needs, "{address}: {name}");
        }
    }
}
