//! Classic cases after the JSON parsing test suites, each as the value of an unknown field.

use super::*;

const ACCEPTED: [&str; 45] = [
    "[[]   ]",
    "[]",
    "[\"\"]",
    "[\"a\"]",
    "[false]",
    "[null, 1, \"1\", {}]",
    "[null]",
    "[1\n]",
    " [1]",
    "[1,null,null,null,2]",
    "[2] ",
    "[123e65]",
    "[0e+1]",
    "[0e1]",
    "[ 4]",
    "[-0.000000000000000000000000000000000000000000000000000000000000000000000000000001]",
    "[20e1]",
    "[-0]",
    "[-123]",
    "[-1]",
    "[1E22]",
    "[1E-2]",
    "[1E+2]",
    "[123e45]",
    "[123.456e78]",
    "[1e-2]",
    "[123.456789]",
    "{\"asd\":\"sdf\", \"dfg\":\"fgh\"}",
    "{\"a\":\"b\",\"a\":\"c\"}",
    "{}",
    "{\"\":0}",
    "{\"foo\\u0000bar\": 42}",
    "{\"min\": -1.0e+28, \"max\": 1.0e+28}",
    "{\n\"a\": \"b\"\n}",
    "[\"\\u0060\\u012a\\u12AB\"]",
    "[\"\\uD801\\udc37\"]",
    "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
    "[\"a/*b*/c/*d//e\"]",
    "[\"\\\\u0000\"]",
    "[\"\u{10ffff}\"]",
    "[\"\u{2028}\u{2029}\u{7f}\"]",
    "[\"\\uDBFF\\uDFFE\"]",
    "-0.1",
    "\"asd\"",
    "[\n\r\t 1e-400,1e400,123123123123123123123123123]",
];

const REFUSED: [&str; 75] = [
    "[1 true]",
    "[a]",
    "[\"\": 1]",
    "[\"\"],",
    "[,1]",
    "[1,,2]",
    "[\"x\",,]",
    "[\"x\"]]",
    "[\"\",]",
    "[\"x\"",
    "[x",
    "[3[4]]",
    "[1:2]",
    "[,]",
    "[-]",
    "[   , \"\"]",
    "[1,",
    "[1,]",
    "[\"a\u{b}a\"\\f]",
    "[*]",
    "[1,{}",
    "[fals]",
    "[nul]",
    "[tru]",
    "[++1234]",
    "[+1]",
    "[+Inf]",
    "[-01]",
    "[-1.0.]",
    "[-2.]",
    "[-NaN]",
    "[.-1]",
    "[.2e-3]",
    "[0.1.2]",
    "[0.3e+]",
    "[0.3e]",
    "[0.e1]",
    "[0E+]",
    "[0e]",
    "[1.0e+]",
    "[1 000.0]",
    "[1eE2]",
    "[2.e+3]",
    "[9.e+]",
    "[Inf]",
    "[1+2]",
    "[0x1]",
    "[-foo]",
    "[- 1]",
    "[1ea]",
    "[012]",
    "[\u{ff11}]",
    "{[: \"x\"}",
    "{\"x\", null}",
    "{\"x\"::\"b\"}",
    "{\"a\":\"a\" 123}",
    "{key: 'value'}",
    "{\"id\":0,,,,,}",
    "{null:null}",
    "{'a':0}",
    "{\"id\":0,}",
    "{\"a\":\"b\"}/**/",
    "{\"a\":\"b\",,\"c\":\"d\"}",
    "{a: \"b\"}",
    "{\"a\":\"a",
    "[\"\\uD800\\u1x\"]",
    "[\"\\x00\"]",
    "[\"\\\\\\\"]",
    "[\"\\\u{1f300}\"]",
    "[\"\\u00A\"]",
    "[\"\\uD834\\uDd\"]",
    "[\"new\nline\"]",
    "[\"\t\"]",
    "[\u{2060}]",
    "<null>",
];

#[test]
fn every_valid_case_is_accepted_as_by_serde() {
    for case in ACCEPTED {
        with(&format!("\"x\":{case}")).unwrap_or_else(|fault| panic!("{case}: {fault}"));
        serde_json::from_str::<serde::de::IgnoredAny>(case).unwrap_or_else(|e| panic!("{case}: {e}"));
    }
}

#[test]
fn every_invalid_case_is_refused_as_by_serde() {
    for case in REFUSED {
        let fault = with(&format!("\"x\":{case}")).expect_err(case);
        assert_eq!(fault.code, FaultCode::InvalidJson, "{case}");
        serde_json::from_str::<serde_json::Value>(case).expect_err(case);
    }
}

#[test]
fn a_valid_body_cut_anywhere_is_refused() {
    let body =
        r#"{"model":"m","x":[1,{"é":"\u00e9😀"},true],"stream_options":{"include_usage":null},"n":12}"#.as_bytes();
    chat(body).unwrap();
    for end in 0..body.len() {
        assert!(chat(&body[..end]).is_err(), "cut at {end}");
    }
}
