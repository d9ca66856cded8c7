//! ClickHouse by TLS: its authorities lie where the program looks for them, in the pods that speak to it and in no other.

use std::collections::BTreeSet;

use crate::{
    ValuesFile,
    chart::{Env, File},
    no_helm, render, text,
};

const CA_FILE: &str = "WAYBILL__CLICKHOUSE__CA_FILE";

#[test]
fn authorities_of_clickhouse_are_in_the_pods_that_speak_to_it() {
    if no_helm() {
        return;
    }
    let (name, key) = ("warehouse".to_owned(), "root.pem".to_owned());
    let mut checksums = BTreeSet::new();
    for (kind, wanted) in [
        ("secret", File::Secret { name: name.clone(), key: key.clone() }),
        ("configMap", File::ConfigMap { name, key }),
    ] {
        for password in ["{}", "{secret: users, key: waybill}"] {
            let values = format!(
                "clickhouse: {{url: 'https://clickhouse:8443', password: {password}, ca: {{{kind}: warehouse, key: root.pem}}}}"
            );
            let chart = render(&[ValuesFile::new(&values).path()], &[]).unwrap();
            for (name, pod) in chart.pods() {
                let speaks = ["api", "migrations", "store"].contains(&name.as_str());
                let file = pod.env.get(CA_FILE).map(|place| match place {
                    Env::Text(path) => &pod.files[path],
                    other => panic!("{name}: {CA_FILE} is {other:?}"),
                });
                assert_eq!(file, speaks.then_some(&wanted), "{values}: {name}");
                let other = pod.files.contains_key("/etc/waybill/clickhouse/password");
                assert_eq!(other, speaks && password != "{}", "{values}: {name}");
            }
            let store = chart.object("Deployment", "waybill-store").unwrap();
            let annotations = &store["spec"]["template"]["metadata"]["annotations"];
            checksums.insert(text(&annotations["checksum/secrets"]).to_owned());
        }
    }
    assert_eq!(checksums.len(), 4, "another object with the authorities rolls the pods");
}

#[test]
fn without_authorities_of_its_own_nothing_is_mounted_for_it() {
    if no_helm() {
        return;
    }
    let chart = render(&[], &["clickhouse.url=https://clickhouse:8443"]).unwrap();
    for (name, pod) in chart.pods() {
        assert!(!pod.env.contains_key(CA_FILE), "{name}");
        assert!(!pod.files.keys().any(|path| path.starts_with("/etc/waybill/clickhouse/")), "{name}");
    }
}
