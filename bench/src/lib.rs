//! What the measuring programs share. No figure is made here: a server to measure, load to put on it, tables to read.

pub mod load;
pub mod machine;
pub mod meter;
pub mod place;
pub mod server;
pub mod table;
