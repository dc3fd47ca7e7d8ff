//! The same on stable, without a fuzzer: all that is kept in the corpus, and some thousand mutations of it.

use std::{fs, path::PathBuf};

use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{TestCaseError, TestRunner},
};

use super::*;

const MUTATIONS: u32 = 3_000;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fuzz/corpus")
        .join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

#[derive(Debug, Clone)]
enum Mutation {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
    /// From there on it is another seed, from its own place on.
    Splice(Index, Index, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    // What parsers look for.
    let word = prop::sample::select(
        &[
            "\"",
            "\\",
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            ".",
            "=",
            ";",
            "@",
            "+",
            "null",
            "-1",
            "1e999",
            "\\ud800",
            "\u{17f}",
            "\r\n",
            "\0",
            "\n",
            "*",
            ">",
            " ",
            "%",
            "18446744073709551615",
        ][..],
    );
    let word = word.prop_map(|word| word.as_bytes().to_vec());
    let bytes = prop_oneof![word, prop::collection::vec(any::<u8>(), 1..6)];
    let at = || any::<Index>();
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (at(), bytes).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (at(), 1_usize..20).prop_map(|(at, count)| Mutation::Remove(at, count)),
        (at(), 1_usize..40, 1_usize..200).prop_map(|(at, count, times)| Mutation::Repeat(at, count, times)),
        (at(), at(), at()).prop_map(|(at, seed, from)| Mutation::Splice(at, seed, from)),
    ]
}

fn mutated(seeds: &[Vec<u8>], seed: Index, mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = seed.get(seeds).clone();
    for mutation in mutations {
        let place = |at: &Index| at.index(bytes.len() + 1);
        match mutation {
            Mutation::Set(at, byte) => {
                let at = place(at);
                if let Some(old) = bytes.get_mut(at) {
                    *old = *byte;
                }
            }
            Mutation::Insert(at, more) => drop(bytes.splice(place(at)..place(at), more.iter().copied())),
            Mutation::Remove(at, count) => {
                let (from, to) = (place(at), (place(at) + count).min(bytes.len()));
                bytes.drain(from..to);
            }
            Mutation::Repeat(at, count, times) => {
                let (from, to) = (place(at), (place(at) + count).min(bytes.len()));
                let again = bytes[from..to].repeat(*times);
                bytes.splice(to..to, again);
            }
            Mutation::Splice(at, seed, from) => {
                bytes.truncate(place(at));
                let other = seed.get(seeds);
                bytes.extend_from_slice(&other[from.index(other.len() + 1)..]);
            }
        }
    }
    bytes
}

#[test]
fn whatever_comes_from_outside_breaks_no_promise() {
    let place = (any::<Index>(), prop::collection::vec(mutation(), 1..5));
    for (name, target) in TARGETS {
        let seeds = corpus(name);
        assert!(!seeds.is_empty(), "{name}");
        seeds.iter().for_each(|seed| target(seed));
        let mut runner = TestRunner::new(ProptestConfig {
            cases: MUTATIONS,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let run = runner.run(&place, |(seed, mutations)| {
            let bytes = mutated(&seeds, seed, &mutations);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            std::panic::catch_unwind(|| target(&bytes)).map_err(|_| TestCaseError::fail(text))
        });
        run.unwrap_or_else(|why| panic!("{name}: {why}"));
    }
}
