//! The OpenAPI document is true: a tool that knows nothing of Herald drives the whole server API from it. And the
//! documentation's examples do what they say.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, env, path::PathBuf, process::Output};

use herald_tests::{api::Api, gateway::dev_gateway, http::DEV_API_KEY};
use serde_json::Value;
use tokio::process::Command;

const EXAMPLES: &str = include_str!("../../deploy/examples/server-api.md");
/// Of each operation, beside those that the document's own bounds lead to.
const CASES: &str = "25";

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn schemathesis_finds_nothing_that_the_document_does_not_say() {
    let gateway = dev_gateway().await;
    let api = Api::dev(gateway.admin());
    api.put("groups/team/members/bob").await;
    let schemathesis = env::var_os("SCHEMATHESIS");
    let schemathesis = schemathesis.expect("SCHEMATHESIS names it: run tests/run, or see tests/find-schemathesis");
    let hooks = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemathesis");
    let reports = tempfile::tempdir().unwrap();
    let output = Command::new(schemathesis)
        .args(["run", "--no-color", "--checks", "all", "--max-examples", CASES])
        // It ends the gateway.
        .args(["--exclude-operation-id", "drain"])
        .args(["--header", &format!("Authorization: Bearer {DEV_API_KEY}")])
        .arg(format!("http://{}/api/v1/openapi.json", gateway.admin()))
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", hooks)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(reports.path())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let shown = shown(&output);
    assert!(output.status.success(), "{shown}");
    let operations = api.get("openapi.json").await["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|path| path.as_object().unwrap().len())
        .sum::<usize>();
    assert!(shown.contains(&format!("Tested: {}", operations - 1)), "{shown}");
}

/// The lines of the document that are to be run.
fn lines() -> Vec<&'static str> {
    let code = EXAMPLES.lines().filter_map(|line| line.strip_prefix("    "));
    code.filter(|line| line.starts_with("curl ") || line.starts_with("api=") || line.starts_with("key="))
        .collect()
}

#[tokio::test]
async fn the_documentations_examples_do_what_they_say() {
    let gateway = dev_gateway().await;
    let admin = gateway.admin().to_string();
    let lines = lines();
    let calls = lines.iter().filter(|line| line.starts_with("curl ")).count();
    // Each answer on a line of its own; a call that is refused ends the script.
    let mut script = "set -eu\ncurl() { command curl --fail-with-body --max-time 60 \"$@\"; echo; }\n".to_owned();
    script += &lines.join("\n").replace("127.0.0.1:9002", &admin);
    let output = Command::new("bash")
        .arg("-c")
        .arg(script)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), calls);
    for answer in &answers[1..] {
        assert!(!answer.to_string().contains("\"error\""), "{answer}");
    }
    // There is an example of every call.
    let templates = answers[0]["paths"].as_object().unwrap();
    let mut missing = BTreeSet::new();
    for (path, operations) in templates {
        let path = path
            .strip_prefix("/api/v1")
            .unwrap()
            .replace("{uid}", "bob")
            .replace("{gid}", "team");
        for method in operations.as_object().unwrap().keys() {
            let shown = lines.iter().any(|line| {
                let by = match () {
                    () if line.contains("-X PUT") => "put",
                    () if line.contains("-X DELETE") => "delete",
                    () if line.contains(" -d ") => "post",
                    () => "get",
                };
                let url = line.split("$api").nth(1).unwrap_or_default();
                let url = url.split([' ', '?', '"']).next().unwrap_or_default();
                by == method && url == path
            });
            // It would be the last example of all.
            if !shown && (method.as_str(), path.as_str()) != ("post", "/drain") {
                missing.insert(format!("{method} {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "no example of {missing:?}");
}
