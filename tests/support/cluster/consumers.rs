//! The example consumers (`examples/consumers`), as their readers run them: each a process on the real topic.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{chart::root, support::PATIENCE};

/// One example, in one language.
struct Consumer {
    language: String,
    line: Vec<String>,
    child: Option<Child>,
    runs: u32,
}

/// All three, on one topic.
pub struct Consumers {
    folder: PathBuf,
    all: Vec<Consumer>,
}

impl Consumers {
    /// Fetches what they need and starts them on `topic`, each as a group of its own.
    ///
    /// # Panics
    /// When one cannot be started.
    pub fn start(folder: &Path, brokers: &str, topic: &str, schema: &str) -> Self {
        let script = root().join("scripts/example-consumers.sh");
        let answer = Command::new("bash").arg(script).output().expect("bash runs");
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        let schema = root().join("schemas/json").join(schema).display().to_string();
        let lines = String::from_utf8(answer.stdout).expect("text");
        let all = lines.lines().map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            let language = words.next().expect("a language");
            let group = format!("examples-{language}");
            let line = words.chain([brokers.to_owned(), topic.to_owned(), schema.clone(), group]).collect();
            Consumer { language, line, child: None, runs: 0 }
        });
        let folder = folder.join("consumers");
        fs::create_dir_all(&folder).expect("a folder");
        let mut consumers = Self { all: all.collect(), folder };
        assert_eq!(consumers.all.len(), 3, "Python, Node and Java");
        consumers.launch();
        consumers
    }

    fn launch(&mut self) {
        for consumer in &mut self.all {
            let name = format!("{}.{}", consumer.language, consumer.runs);
            let out = File::create(self.folder.join(format!("{name}.out"))).expect("a file");
            let log = File::create(self.folder.join(format!("{name}.log"))).expect("a file");
            let mut command = Command::new(&consumer.line[0]);
            command.args(&consumer.line[1..]).stdin(Stdio::null()).stdout(out).stderr(log);
            consumer.child = Some(command.spawn().expect("the example starts"));
            consumer.runs += 1;
        }
    }

    /// kill -9 of all, and starts them again in the same groups.
    pub fn kill_and_restart(&mut self) {
        self.end(Signal::KILL);
        self.launch();
    }

    fn end(&mut self, signal: Signal) {
        for consumer in &mut self.all {
            if let Some(mut child) = consumer.child.take() {
                let _ = kill_process(Pid::from_child(&child), signal);
                let _ = child.wait();
            }
        }
    }

    /// What each run of one has printed, run by run: `(ce_id, value)`.
    fn seen(&self, consumer: &Consumer) -> Vec<Vec<(String, Value)>> {
        let runs = (0..consumer.runs).map(|run| {
            let out = self.folder.join(format!("{}.{run}.out", consumer.language));
            let printed = fs::read_to_string(out).unwrap_or_default();
            // The last line of a killed run may be cut.
            let whole = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            whole
                .map(|mut line| (line["ce_id"].as_str().unwrap_or_default().to_owned(), line["value"].take()))
                .collect()
        });
        runs.collect()
    }

    /// Waits until each has seen all of `wanted` (values of `ce_id`) and nothing else, and checks that none printed one twice
    /// in a run and that a restart began where the last run stopped. Ends them.
    ///
    /// # Panics
    /// When one does not.
    pub async fn have_seen(mut self, wanted: &BTreeSet<String>) -> String {
        let began = Instant::now();
        let mut said = Vec::new();
        for consumer in &self.all {
            let runs = loop {
                let runs = self.seen(consumer);
                let all: BTreeSet<String> = runs.iter().flatten().map(|(id, _)| id.clone()).collect();
                if &all == wanted {
                    break runs;
                }
                if began.elapsed() > PATIENCE {
                    let log = self.folder.join(format!("{}.{}.log", consumer.language, consumer.runs - 1));
                    panic!(
                        "the {} example has seen {} of {}, {} unknown:\n{}",
                        consumer.language,
                        all.intersection(wanted).count(),
                        wanted.len(),
                        all.difference(wanted).count(),
                        fs::read_to_string(log).unwrap_or_default()
                    );
                }
                sleep(Duration::from_millis(200)).await;
            };
            let printed: usize = runs.iter().map(Vec::len).sum();
            for run in &runs {
                let unique: BTreeSet<&String> = run.iter().map(|(id, _)| id).collect();
                assert_eq!(unique.len(), run.len(), "the {} example printed one twice in a run", consumer.language);
            }
            if runs.len() > 1 {
                assert!(
                    runs[0].is_empty() || runs[1].len() < wanted.len(),
                    "the {} example began anew: {} of {}",
                    consumer.language,
                    runs[1].len(),
                    wanted.len()
                );
            }
            said.push(format!("{} {printed}", consumer.language));
        }
        self.end(Signal::TERM);
        said.join(", ")
    }
}

impl Drop for Consumers {
    fn drop(&mut self) {
        self.end(Signal::KILL);
    }
}
