//! The part of JSON Schema that `docs/webhook.schema.json` uses.

use std::sync::LazyLock;

use serde_json::Value;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../docs/webhook.schema.json")).expect("JSON")
});

/// Panics where a payload is not as the published schema has it.
pub(crate) fn assert_valid(payload: &Value) {
    if let Err(error) = check(&SCHEMA, payload, "$") {
        panic!("{error}\n{payload:#}");
    }
}

const KNOWN: [&str; 17] = [
    "$schema",
    "$defs",
    "$ref",
    "title",
    "description",
    "format",
    "contentEncoding",
    "type",
    "const",
    "enum",
    "anyOf",
    "required",
    "properties",
    "additionalProperties",
    "items",
    "pattern",
    "minimum",
];

fn check(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let fail = |what: String| Err(format!("{path}: {what}"));
    for (keyword, wanted) in schema.as_object().expect("a schema") {
        match keyword.as_str() {
            "$ref" => {
                let pointer = wanted
                    .as_str()
                    .and_then(|it| it.strip_prefix('#'))
                    .expect("a pointer");
                check(SCHEMA.pointer(pointer).expect("a definition"), value, path)?;
            }
            "type" if !types(wanted).any(|each| is_of(each, value)) => {
                return fail(format!("not {wanted}"));
            }
            "const" if wanted != value => return fail(format!("not {wanted}")),
            "enum" if !wanted.as_array().unwrap().contains(value) => {
                return fail(format!("{value} is none of {wanted}"));
            }
            "anyOf"
                if !wanted
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|each| check(each, value, path).is_ok()) =>
            {
                return fail("none fits".to_owned());
            }
            "required" if value.is_object() => {
                for name in wanted.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        return fail(format!("{name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, each) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = wanted.get(name) {
                        check(schema, each, &format!("{path}.{name}"))?;
                    } else if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
                        return fail(format!("{name} is not known"));
                    }
                }
            }
            "items" => {
                for (index, each) in value.as_array().into_iter().flatten().enumerate() {
                    check(wanted, each, &format!("{path}[{index}]"))?;
                }
            }
            "minItems" | "maxItems" => {
                let count = value.as_array().map_or(0, Vec::len) as u64;
                let bound = wanted.as_u64().unwrap();
                if value.is_array()
                    && (keyword == "minItems" && count < bound
                        || keyword == "maxItems" && count > bound)
                {
                    return fail(format!("{count} items"));
                }
            }
            "minimum" if value.as_i64() < wanted.as_i64() => return fail("too small".to_owned()),
            "pattern" => {
                assert_eq!(wanted, "^[0-9a-f]{64}$", "write this pattern here");
                let text = value.as_str().unwrap_or_default();
                if text.len() != 64
                    || !text
                        .bytes()
                        .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
                {
                    return fail(format!("{value} does not match {wanted}"));
                }
            }
            other => assert!(
                KNOWN.contains(&other),
                "the keyword {other} is not known here"
            ),
        }
    }
    Ok(())
}

fn types(wanted: &Value) -> impl Iterator<Item = &str> {
    let list = wanted
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or(std::slice::from_ref(wanted));
    list.iter().filter_map(Value::as_str)
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the type {other} is not known here"),
    }
}

#[test]
fn what_is_not_as_the_schema_says_is_found() {
    let wrong = [
        serde_json::json!({"type": "mail.received", "timestamp": "x"}),
        serde_json::json!({"type": "mail.sent", "timestamp": "x", "data": {}}),
        serde_json::json!({"type": "mail.received", "timestamp": "x", "data": {"id": 1}}),
    ];
    for payload in wrong {
        assert!(check(&SCHEMA, &payload, "$").is_err());
    }
}
