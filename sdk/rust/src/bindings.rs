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

/// What guards export besides that judge replies while they are written; the types are those above.
pub(crate) mod streaming {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package aegis:streaming; world streaming { export aegis:guard/stream-scanner@0.1.0; }",
        world: "aegis:streaming/streaming",
        pub_export_macro: true,
        export_macro_name: "export_streaming",
        with: { "aegis:guard/types@0.1.0": crate::bindings::aegis::guard::types },
    });
}
