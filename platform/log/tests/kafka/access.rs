//! Who may in: SCRAM, against the broker's listener with SASL.

use waybill_log::{
    KafkaLog, KafkaOptions, Log as _, LogError, ReadFrom, TopicPartition,
    kafka::{
        Places, Settings,
        testing::{SASL_PASSWORD, SASL_USER, TestBroker},
    },
};

use crate::tools;

fn options(broker: &TestBroker) -> KafkaOptions {
    let pairs =
        [("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanisms", "SCRAM-SHA-512"), ("sasl.username", SASL_USER)];
    let settings = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    KafkaOptions { brokers: broker.sasl_brokers(), settings: Settings(settings), ..KafkaOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_from_a_file_opens_the_door_and_a_wrong_one_does_not() {
    let broker = TestBroker::shared().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut right = options(broker);
    right.setting_files = Places([("sasl.password".to_owned(), file.path().to_string_lossy().into_owned())].into());

    std::fs::write(file.path(), "wrong\n").unwrap();
    // A short wait is for who is refused; who is let in may have to wait for a slow broker.
    let refused = KafkaLog::connect(KafkaOptions { request_timeout_ms: 6_000, ..right.clone() }).await.unwrap_err();
    // A broker may be asked again, but the sentence tells a wrong password from a broker that is away.
    assert!(matches!(refused, LogError::Unavailable(_)), "{refused:?}");
    let said = refused.to_string();
    assert!(said.contains("a client was refused") && !said.contains("wrong"), "{said}");

    std::fs::write(file.path(), format!("{SASL_PASSWORD}\n")).unwrap();
    let log = KafkaLog::connect(right).await.unwrap();
    log.create_topics(&[tools::topic("scram", 1)]).await.unwrap();
    log.produce(vec![tools::record("scram", 0, "hello")]).await.remove(0).unwrap();
    let at = TopicPartition::new("scram", 0);
    let from = ReadFrom { at, offset: 0, max_records: 10, max_bytes: 1_000, wait: std::time::Duration::ZERO };
    assert_eq!(log.read(from).await.unwrap().records.len(), 1);
    assert!(!format!("{log:?}").contains(SASL_PASSWORD));
}
