//! The contract's types, generated once. Nothing here is written by hand.
//!
//! Names in JSON are those of the host: `tool_call`, `require_approval`.

#![expect(missing_docs, reason = "generated; the documentation of the contract stands where it has any")]

wit_bindgen::generate!({
    path: "wit",
    world: "guard",
    pub_export_macro: true,
    additional_derives: [PartialEq],
    additional_type_attributes: {
        "aegis:guard/types@0.1.0/stage": [#[derive(serde::Serialize, serde::Deserialize)] #[serde(rename_all = "snake_case")]],
        "aegis:guard/types@0.1.0/verdict": [#[derive(serde::Serialize, serde::Deserialize)] #[serde(rename_all = "snake_case")]],
        "aegis:guard/types@0.1.0/question": [#[derive(serde::Serialize, serde::Deserialize)] #[serde(deny_unknown_fields)]],
        "aegis:guard/types@0.1.0/edit": [#[derive(serde::Serialize, serde::Deserialize)] #[serde(deny_unknown_fields)]],
        "aegis:guard/types@0.1.0/finding": [#[derive(serde::Serialize, serde::Deserialize)] #[serde(deny_unknown_fields)]],
        "aegis:guard/types@0.1.0/place": [
            #[derive(Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
            #[serde(rename_all = "snake_case", deny_unknown_fields)]
        ],
        "aegis:guard/types@0.1.0/part-place": [
            #[derive(Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
            #[serde(deny_unknown_fields)]
        ],
        "aegis:guard/types@0.1.0/arguments-place": [
            #[derive(Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
            #[serde(deny_unknown_fields)]
        ],
    },
});
