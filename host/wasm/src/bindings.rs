//! The guard contract as wasmtime sees it, generated once. Only `convert` knows both these types and the core's.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "guard",
    ownership: Borrowing { duplicate_if_necessary: true },
    exports: { default: async },
});
