//! Bind parameters. Each goes with the type that its Rust type stands for: a statement must not have to be prepared for the
//! server to say it.

use super::issues::{Tid, Xid};
use std::time::SystemTime;
use tokio_postgres::types::{ToSql, Type};

/// A bind parameter and its type.
pub(crate) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// A type of single values that stands for one of Postgres'.
pub(super) trait Scalar {
    /// Of a value.
    const ONE: Type;
    /// Of an array of them.
    const MANY: Type;
}

macro_rules! scalars {
    ($($rust:ty: $one:ident, $many:ident;)*) => {
        $(impl Scalar for $rust {
            const ONE: Type = Type::$one;
            const MANY: Type = Type::$many;
        })*
    };
}

scalars! {
    bool: BOOL, BOOL_ARRAY;
    i32: INT4, INT4_ARRAY;
    i64: INT8, INT8_ARRAY;
    f64: FLOAT8, FLOAT8_ARRAY;
    &str: TEXT, TEXT_ARRAY;
    String: TEXT, TEXT_ARRAY;
    &[u8]: BYTEA, BYTEA_ARRAY;
    SystemTime: TIMESTAMPTZ, TIMESTAMPTZ_ARRAY;
    Tid: TID, TID_ARRAY;
    Xid: XID, XID_ARRAY;
}

impl<T: Scalar> Scalar for Option<T> {
    const ONE: Type = T::ONE;
    const MANY: Type = T::MANY;
}

/// What may be a bind parameter: a value or an array.
pub(super) trait Typed: ToSql + Sync {
    /// Its type.
    const TYPE: Type;
}

impl<T: Scalar + ToSql + Sync> Typed for T {
    const TYPE: Type = T::ONE;
}

impl<T: Scalar + ToSql + Sync> Typed for Vec<T> {
    const TYPE: Type = T::MANY;
}

impl<T: Scalar + ToSql + Sync> Typed for &[T] {
    const TYPE: Type = T::MANY;
}

impl<T: Scalar + ToSql + Sync> Typed for Option<&[T]> {
    const TYPE: Type = T::MANY;
}

/// A value with its type.
pub(super) fn param<T: Typed>(value: &T) -> Param<'_> {
    (value, T::TYPE)
}

/// Values with their types.
macro_rules! params {
    ($($value:expr),+ $(,)?) => {
        &[$($crate::db::params::param(&$value)),+]
    };
}

pub(super) use params;

/// A column of these rows, for `unnest`.
pub(super) fn each<'r, R, V>(rows: &'r [R], of: impl Fn(&'r R) -> V) -> Vec<V> {
    rows.iter().map(of).collect()
}
