//! Exact comparison of JSON numbers. Ids above 2^53 are ordinary in messaging services; compared as doubles two
//! of them would be "equal" and a deny rule for one person would miss or hit another. Called by `condition`.

use serde_json::Number;
use std::cmp::Ordering;

/// Compares by exact value, an integer with a fraction too.
pub(super) fn compare(left: &Number, right: &Number) -> Ordering {
    match (integer(left), integer(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        (Some(left), None) => integer_with_double(left, double(right)),
        (None, Some(right)) => integer_with_double(right, double(left)).reverse(),
        (None, None) => double(left).total_cmp(&double(right)),
    }
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// Adding zero turns -0.0 into 0.0, which `total_cmp` would tell apart. JSON has no NaN.
fn double(number: &Number) -> f64 {
    number.as_f64().unwrap_or_default() + 0.0
}

#[expect(clippy::cast_possible_truncation, reason = "the double is whole and below 2^65, which an i128 holds exactly")]
fn integer_with_double(integer: i128, double: f64) -> Ordering {
    /// Above every u64 and below every i64 in size, and exact as a double.
    const BEYOND: f64 = 36_893_488_147_419_103_232.0;
    if double >= BEYOND {
        return Ordering::Less;
    }
    if double <= -BEYOND {
        return Ordering::Greater;
    }
    integer.cmp(&(double.trunc() as i128)).then_with(|| 0.0_f64.total_cmp(&(double.fract() + 0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn order(left: &Value, right: &Value) -> Ordering {
        let (Value::Number(left), Value::Number(right)) = (left, right) else { unreachable!("numbers only") };
        assert_eq!(compare(left, right), compare(right, left).reverse());
        compare(left, right)
    }

    #[test]
    fn neighbours_above_two_to_the_fifty_third_are_told_apart() {
        assert_eq!(order(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992_u64)), Ordering::Greater);
        assert_eq!(order(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992.0)), Ordering::Greater);
        assert_eq!(order(&json!(u64::MAX), &json!(18_446_744_073_709_551_616.0)), Ordering::Less);
        assert_eq!(order(&json!(i64::MIN), &json!(-9_223_372_036_854_775_808.0)), Ordering::Equal);
        assert_eq!(order(&json!(u64::MAX), &json!(1e300)), Ordering::Less);
        assert_eq!(order(&json!(i64::MIN), &json!(-1e300)), Ordering::Greater);
    }

    #[test]
    fn an_integer_and_a_fraction_compare_by_value() {
        assert_eq!(order(&json!(50_000), &json!(50_000.0)), Ordering::Equal);
        assert_eq!(order(&json!(2), &json!(2.5)), Ordering::Less);
        assert_eq!(order(&json!(-2), &json!(-2.5)), Ordering::Greater);
        assert_eq!(order(&json!(0), &json!(-0.0)), Ordering::Equal);
        assert_eq!(order(&json!(0.0), &json!(-0.0)), Ordering::Equal);
        assert_eq!(order(&json!(0), &json!(-0.5)), Ordering::Greater);
        assert_eq!(order(&json!(1.5), &json!(2.5)), Ordering::Less);
    }
}
