use super::*;

fn mined(lines: &[&str]) -> Mined {
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    mine(&lines, &Wanted { forms: 20, fallback: "x".to_owned(), ..Wanted::default() })
}

/// The patterns with their numbers of lines.
fn check(lines: &[&str], expected: &[(usize, &str)]) {
    let mined = mined(lines);
    let forms: Vec<(usize, String)> =
        mined.forms.iter().map(|form| (form.count, form.pattern("X"))).collect();
    let expected: Vec<(usize, String)> =
        expected.iter().map(|(count, text)| (*count, (*text).to_owned())).collect();
    assert_eq!(forms, expected);
}

#[test]
fn names_addresses_and_numbers_differ() {
    check(
        &[
            "Bad password attempt for 'root' from 127.0.0.1:33062",
            "Bad password attempt for 'a b' from 127.0.0.1:1",
            "Bad password attempt for '' from 2001:db8::7:1",
            "Child connection from 127.0.0.1:33062",
        ],
        &[
            (
                2,
                r"^Bad password attempt for '%{X_USER:username}' from %{X_IP:client_ip}:%{X_NUMBER:client_port}$",
            ),
            (1, r"^Bad password attempt for '%{X_USER:username}' from %{X_IP:client_ip}$"),
            (1, r"^Child connection from %{X_IP:client_ip}:%{X_NUMBER:client_port}$"),
        ],
    );
}

#[test]
fn versions_are_one_value() {
    check(
        &[
            "client 192.0.2.1 uses OpenSSH 9.2p1 after 1.5s",
            "client 192.0.2.1 uses OpenSSH 10.0.2-rc1+b2 after 2.25s",
            "client 192.0.2.1 uses OpenSSH 4.2.1. after 3s",
        ],
        &[
            (2, "^client %{X_IP:client_ip} uses OpenSSH %{X_VERSION:openssh} after %{X_DURATION:after}$"),
            (1, r"^client %{X_IP:client_ip} uses OpenSSH %{X_VERSION:openssh}\. after %{X_DURATION:after}$"),
        ],
    );
    assert_eq!(
        sketch("v 4.2 and 4.2.1, 10.0.0.1 and 1.2.3.4.5"),
        "v <number> and <version>, <ip> and <version>"
    );
}

#[test]
fn names_of_users_have_any_number_of_words() {
    check(
        &[
            "Invalid user admin from 192.0.2.1 port 22",
            "Invalid user a b c from 192.0.2.1 port 22",
            "Invalid user  from 192.0.2.1 port 22",
            "Invalid user 4711 from 192.0.2.1 port 22",
        ],
        &[(4, "^Invalid user %{X_USER:username} from %{X_IP:client_ip} port %{X_NUMBER:client_port}$")],
    );
}

#[test]
fn a_name_is_known_elsewhere_in_brackets() {
    check(
        &[
            "login ok for 'lena' from 203.0.113.7",
            "login ok for 'lena' from 203.0.113.7",
            "Exit (lena) from <203.0.113.7>: bye",
        ],
        &[
            (2, "^login ok for '%{X_USER:username}' from %{X_IP:client_ip}$"),
            (1, r"^Exit \(%{X_USER:username}\) from <%{X_IP:client_ip}>: bye$"),
        ],
    );
    assert_eq!(sketch("Nov  3 09:14:00 h p[1]: user x from 1.2.3.4:5"), "user <user> from <ip>:<number>");
}

#[test]
fn many_words_in_one_place_are_a_field_and_few_are_not() {
    let line = |word: &str| format!("channel {word} was joined by somebody");
    let lines: Vec<String> = ["one", "two", "three", "four", "five"].map(line).into();
    check(
        &lines.iter().map(String::as_str).collect::<Vec<_>>(),
        &[(5, "^channel %{X_WORD:channel} was joined by somebody$")],
    );
    let mined = mined(&["session opened for x", "session closed for x"]);
    assert_eq!(mined.forms.len(), 2);
}

#[test]
fn names_that_are_all_different_are_no_forms_of_their_own() {
    let lines: Vec<String> =
        (0..9000).map(|n| format!("login failed for user x{n} y{} from 203.0.113.7", n * 7)).collect();
    let mined = mine(&lines, &Wanted { forms: 20, fallback: "x".to_owned(), ..Wanted::default() });
    assert_eq!((mined.forms.len(), mined.covered), (1, 9000), "{:?}", mined.forms[0].pattern("X"));
}

#[test]
fn the_envelope_of_a_syslog_is_taken_off() {
    let mined = mined(&[
        "Nov 30 09:14:00 web-1 dropbear[1]: Child connection from 127.0.0.1:33062",
        "Nov 30 09:14:00 web-1 dropbear[2]: Child connection from 127.0.0.2:33063",
        "Nov 30 09:14:00 web-1 cron[2]: (root) CMD (x)",
    ]);
    assert_eq!((mined.kind.as_str(), mined.program.as_str()), ("syslog", "dropbear"));
    assert_eq!((mined.lines, mined.covered), (2, 2));
    assert_eq!(mined.others, [("cron".to_owned(), 1)]);
    assert_eq!(mined.forms[0].examples[1].values, ["127.0.0.2", "33063"]);
}

#[test]
fn the_address_of_the_client_is_not_that_of_the_server() {
    check(
        &["connect to 192.0.2.1 from 203.0.113.7 refused"],
        &[(1, "^connect to %{X_IP:to} from %{X_IP:client_ip} refused$")],
    );
    assert!(mined(&["listening on 0.0.0.0"]).forms[0].fields().all(|field| !field.is_source));
}

#[test]
fn what_is_no_text_is_left_out() {
    let long = "x".repeat(10 << 20);
    let mined = mined(&["a\0b", "a\u{fffd}", &long, "hello there"]);
    assert_eq!((mined.lines, mined.unusable, mined.covered), (4, 3, 1));
    assert_eq!(super::mine(&[], &Wanted::default()).forms.len(), 0);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// Words, values and signs as logs have them, and anything else.
    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "(from|for|user|invalid|login|failed|on|to|closed|a|b)",
            1 => "[a-zA-Z0-9_.@/:-]{0,12}",
            1 => "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}(:[0-9]{1,5})?",
            1 => "[0-9a-f:]{2,12}(%[a-z0-9]{1,4})?",
            1 => "(2026-11-30[T ]09:14(:00([.,][0-9]{1,6})?(Z|[+]0100|[+]01:00)?)?|Nov [ 0-3][0-9] 09:14:00)",
            1 => "['\"`(<\\[{=,;|\\\\^$*+?.%)\\]}>#-]{1,3}",
            1 => "\\PC{0,6}",
        ]
    }

    fn line() -> impl Strategy<Value = String> {
        proptest::collection::vec((piece(), "[ \t]{0,2}"), 0..10)
            .prop_map(|pieces| pieces.into_iter().flat_map(|(piece, gap)| [piece, gap]).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Every line is in a form, and its form's pattern matches it; the texts of the fields are where the line says.
        #[test]
        fn patterns_match_the_lines_that_they_come_from(
            lines in proptest::collection::vec(line(), 1..12)
        ) {
            let wanted = Wanted { kind: Some("x".to_owned()), forms: usize::MAX, ..Wanted::default() };
            let mined = mine(&lines, &wanted);
            if mined.envelope == Envelope::None {
                prop_assert_eq!(mined.covered, mined.lines - mined.unusable, "{:?}", mined.forms);
            }
            for form in &mined.forms {
                for example in &form.examples {
                    let mut values = example.values.iter();
                    let whole: String = form.parts.iter().map(|part| match part {
                        Part::Constant(text) => text.as_str(),
                        Part::Field(_) => values.next().map_or("", String::as_str),
                    }).collect();
                    prop_assert_eq!(&whole, &example.line);
                }
            }
        }

        /// The same lines give the same forms.
        #[test]
        fn nothing_is_left_to_chance(lines in proptest::collection::vec(line(), 1..12)) {
            let wanted = Wanted { forms: usize::MAX, fallback: "x".to_owned(), ..Wanted::default() };
            let patterns = |mined: &Mined| mined.forms.iter().map(|form| form.pattern("X")).collect::<Vec<_>>();
            prop_assert_eq!(patterns(&mine(&lines, &wanted)), patterns(&mine(&lines, &wanted)));
        }
    }
}
