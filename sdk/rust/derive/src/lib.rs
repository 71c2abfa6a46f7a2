//! `#[derive(Schema)]`: the JSON Schema of settings from their type, as `serde` reads it. Nothing of it is in the component but the text.

use proc_macro2::TokenStream;
use quote::quote;
use std::fmt::Write as _;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Data, DataEnum, DeriveInput, Error, Expr, ExprLit, Field, Fields, Lit, LitStr, Type, parse_macro_input};

/// The JSON Schema of a struct with named fields, or of an enum whose variants have none: what `serde` reads, with the doc comments of fields as their
/// descriptions. `#[schema(min_items = 1, items(min_length = 1), pattern = "…")]` says more of a field, in JSON Schema's words.
#[proc_macro_derive(Schema, attributes(schema, serde))]
pub fn schema(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

fn expand(input: &DeriveInput) -> Result<TokenStream, Error> {
    let serde = Serde::read(&input.attrs)?;
    let body = match &input.data {
        Data::Struct(it) => match &it.fields {
            Fields::Named(fields) => object(fields.named.iter(), &serde)?,
            _ => return Err(Error::new_spanned(&input.ident, "settings are a struct with named fields")),
        },
        Data::Enum(it) => choice(it, &serde)?,
        Data::Union(_) => return Err(Error::new_spanned(&input.ident, "settings are a struct or an enum")),
    };
    let (name, (before, types, after)) = (&input.ident, input.generics.split_for_impl());
    Ok(quote! {
        impl #before ::aegis_guard::Schema for #name #types #after {
            #body
        }
    })
}

fn object<'a>(fields: impl Iterator<Item = &'a Field>, container: &Serde) -> Result<TokenStream, Error> {
    let mut members = vec![];
    for field in fields {
        let (serde, more) = (Serde::read(&field.attrs)?, More::read(&field.attrs)?);
        if serde.skip {
            continue;
        }
        let ident = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
        let name = serde.rename.clone().unwrap_or_else(|| container.renamed(ident.trim_start_matches("r#"), false));
        let (kind, json_name) = (&field.ty, json(&name));
        let (has_default, told_default) = (serde.default || container.default, serde.default && !serde.default_by_function);
        let schema = more.schema(kind);
        members.push(quote! {
            object.member::<#kind>(#json_name, #schema, #has_default, #told_default);
        });
    }
    Ok(quote! {
        fn schema() -> ::std::string::String {
            let mut object = ::aegis_guard::schema::Object::default();
            #(#members)*
            object.finish()
        }
    })
}

fn choice(it: &DataEnum, container: &Serde) -> Result<TokenStream, Error> {
    let (mut names, mut default) = (vec![], None);
    for variant in &it.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new_spanned(
                variant,
                "an enum of settings has variants without fields; write `impl Schema` by hand for another",
            ));
        }
        let serde = Serde::read(&variant.attrs)?;
        let name = json(&serde.rename.clone().unwrap_or_else(|| container.renamed(&variant.ident.to_string(), true)));
        if variant.attrs.iter().any(|it| it.path().is_ident("default")) {
            default = Some(name.clone());
        }
        names.push(name);
    }
    let schema = format!("{{\"enum\":[{}]}}", names.join(","));
    let default = default.map(|it| {
        quote! {
            fn default_value() -> ::std::option::Option<::std::string::String> {
                ::std::option::Option::Some(#it.into())
            }
        }
    });
    Ok(quote! {
        fn schema() -> ::std::string::String {
            #schema.into()
        }
        #default
    })
}

/// What `rename_all` may say, as [`Serde::renamed`] does it.
const RULES: [&str; 8] =
    ["lowercase", "UPPERCASE", "PascalCase", "camelCase", "snake_case", "SCREAMING_SNAKE_CASE", "kebab-case", "SCREAMING-KEBAB-CASE"];

fn known(rule: String, meta: &ParseNestedMeta<'_>) -> Result<String, Error> {
    let unknown = || meta.error(format!("{rule:?} is not known here: write one of {}", RULES.join(", ")));
    if RULES.contains(&&*rule) { Ok(rule) } else { Err(unknown()) }
}

/// What `serde` is told that a schema has to know.
#[derive(Default)]
struct Serde {
    rename: Option<String>,
    rename_all: Option<String>,
    default: bool,
    default_by_function: bool,
    skip: bool,
}

impl Serde {
    fn read(attributes: &[Attribute]) -> Result<Serde, Error> {
        let mut serde = Serde::default();
        for attribute in attributes.iter().filter(|it| it.path().is_ident("serde")) {
            attribute.parse_nested_meta(|meta| serde.take(&meta))?;
        }
        Ok(serde)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<(), Error> {
        let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        let value = if meta.input.peek(syn::Token![=]) { Some(meta.value()?.parse::<LitStr>()?.value()) } else { None };
        match name.as_str() {
            "rename" => self.rename = value,
            "rename_all" => self.rename_all = Some(known(value.unwrap_or_default(), meta)?),
            "default" => (self.default, self.default_by_function) = (true, value.is_some()),
            "skip" | "skip_deserializing" => self.skip = true,
            "alias" => return Err(meta.error("a schema has one name for this, and the host refuses the other: write one name only")),
            "flatten" | "untagged" | "tag" | "content" | "with" | "deserialize_with" | "from" | "try_from" | "transparent" => {
                return Err(meta.error("what this reads cannot be told from the type: write `impl Schema` by hand"));
            }
            _ => {}
        }
        Ok(())
    }

    /// A field is in snake case already, a variant in Pascal case.
    fn renamed(&self, name: &str, is_variant: bool) -> String {
        let words: Vec<String> = if is_variant {
            let begins = name.char_indices().filter(|(_, it)| it.is_uppercase()).map(|(at, _)| at);
            let ends = begins.clone().skip(1).chain([name.len()]);
            begins.zip(ends).map(|(from, to)| name[from..to].to_lowercase()).collect()
        } else {
            name.split('_').map(str::to_owned).collect()
        };
        let capital =
            |it: &String| it.chars().next().map_or_else(String::new, |first| first.to_uppercase().chain(it.chars().skip(1)).collect());
        match self.rename_all.as_deref() {
            Some("snake_case") => words.join("_"),
            Some("kebab-case") => words.join("-"),
            Some("lowercase") => name.to_lowercase(),
            Some("UPPERCASE") => name.to_uppercase(),
            Some("SCREAMING_SNAKE_CASE") => words.join("_").to_uppercase(),
            Some("SCREAMING-KEBAB-CASE") => words.join("-").to_uppercase(),
            Some("PascalCase") => words.iter().map(capital).collect(),
            Some("camelCase") => words.first().cloned().unwrap_or_default() + &words.iter().skip(1).map(capital).collect::<String>(),
            _ => name.to_owned(),
        }
    }
}

/// What is said of a field beside its type.
#[derive(Default)]
struct More {
    own: Members,
    items: Members,
}

/// Members of an object in JSON.
#[derive(Default)]
struct Members {
    text: String,
    names: Vec<String>,
}

impl More {
    fn read(attributes: &[Attribute]) -> Result<More, Error> {
        let mut more = More::default();
        let mut lines = vec![];
        for attribute in attributes {
            if attribute.path().is_ident("doc") {
                if let syn::Meta::NameValue(it) = &attribute.meta
                    && let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &it.value
                {
                    lines.push(text.value().trim().to_owned());
                }
            } else if attribute.path().is_ident("schema") {
                attribute.parse_nested_meta(|meta| match meta.path.is_ident("items") {
                    true => meta.parse_nested_meta(|meta| keyword(&meta, &mut more.items)),
                    false => keyword(&meta, &mut more.own),
                })?;
            }
        }
        let description = lines.join(" ").trim().to_owned();
        if !description.is_empty() {
            more.own.add("description", &json(&description));
        }
        Ok(more)
    }

    /// Of a field of this type, with what is said of it.
    fn schema(&self, kind: &Type) -> TokenStream {
        if self.items.text.is_empty() {
            return self.own.beside(&quote! { <#kind as ::aegis_guard::Schema>::schema() });
        }
        let items = self.items.beside(&quote! { it });
        self.own.beside(&quote! { <#kind as ::aegis_guard::schema::List>::schema_with(&|it: &str| #items) })
    }
}

impl Members {
    fn add(&mut self, name: &str, value: &str) {
        if !self.text.is_empty() {
            self.text.push(',');
        }
        self.text += &format!("{}:{value}", json(name));
        self.names.push(name.to_owned());
    }

    /// A schema and these beside what it has, or in the place of it.
    fn beside(&self, schema: &TokenStream) -> TokenStream {
        let mut schema = schema.clone();
        for name in self.names.iter().filter(|it| ["minimum", "maximum"].contains(&it.as_str())) {
            let begin = format!(",{}:", json(name));
            schema = quote! { ::aegis_guard::schema::without(&#schema, #begin) };
        }
        let text = &self.text;
        quote! { ::aegis_guard::schema::with(&#schema, #text) }
    }
}

/// `min_items = 1`: JSON Schema's own name, in snake case.
fn keyword(meta: &ParseNestedMeta<'_>, members: &mut Members) -> Result<(), Error> {
    let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
    let camel = Serde { rename_all: Some("camelCase".into()), ..Serde::default() }.renamed(&name, false);
    let value = match meta.value()?.parse::<Lit>()? {
        Lit::Str(text) => json(&text.value()),
        Lit::Int(number) => number.base10_digits().to_owned(),
        Lit::Float(number) => number.base10_digits().to_owned(),
        Lit::Bool(it) => it.value.to_string(),
        _ => return Err(meta.error("expected a text, a number, true or false")),
    };
    members.add(&camel, &value);
    Ok(())
}

/// A text as JSON has it.
fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => write!(out, "\\u{:04x}", u32::from(c)).expect("a string takes everything"),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn what_cannot_be_told_is_an_error_that_says_what_to_write() {
        let cases: [(DeriveInput, &str); 6] = [
            (parse_quote! { #[serde(rename_all = "Snake")] struct It { one: u8 } }, "\"Snake\" is not known here: write one of lowercase"),
            (parse_quote! { #[serde(rename_all = "")] enum It { One } }, "is not known here"),
            (parse_quote! { struct It { #[serde(default, alias = "other")] one: u8 } }, "write one name only"),
            (parse_quote! { enum It { #[serde(alias = "other")] One } }, "write one name only"),
            (parse_quote! { struct It { #[serde(flatten)] one: Other } }, "by hand"),
            (parse_quote! { struct It(u8); }, "named fields"),
        ];
        for (input, expected) in cases {
            let why = expand(&input).expect_err(expected).to_string();
            assert!(why.contains(expected), "{why}");
        }
    }

    #[test]
    fn names_are_as_serde_makes_them() {
        for (rule, field, variant) in [
            ("lowercase", "how_sure", "howsure"),
            ("UPPERCASE", "HOW_SURE", "HOWSURE"),
            ("PascalCase", "HowSure", "HowSure"),
            ("camelCase", "howSure", "howSure"),
            ("snake_case", "how_sure", "how_sure"),
            ("SCREAMING_SNAKE_CASE", "HOW_SURE", "HOW_SURE"),
            ("kebab-case", "how-sure", "how-sure"),
            ("SCREAMING-KEBAB-CASE", "HOW-SURE", "HOW-SURE"),
        ] {
            assert!(RULES.contains(&rule), "{rule}");
            let serde = Serde { rename_all: Some(rule.into()), ..Serde::default() };
            assert_eq!((&*serde.renamed("how_sure", false), &*serde.renamed("HowSure", true)), (field, variant), "{rule}");
        }
    }
}
