//! From configuration to what the pure crates want to know.

use config::Config;
use wire::InputRules;

/// What an event must satisfy to be taken in.
#[must_use]
pub fn input_rules(config: &Config) -> InputRules {
    let limits = &config.limits;
    InputRules {
        earliest: limits.earliest_event_time,
        future_bound_ms: i64::try_from(limits.future_bound.as_millis()).unwrap_or(i64::MAX),
        max_amount: limits.max_order_amount,
        max_value_bytes: limits.max_value_bytes,
        ..InputRules::new(config.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pure crate's defaults are the documented ones.
    #[test]
    fn an_empty_configuration_gives_the_default_rules() {
        for code in ["USD", "JPY", "KWD", "XAU"] {
            let config = config::load(None, &[format!("currency.code={code}")]).unwrap();
            let rules = input_rules(&config.config);
            assert_eq!(rules, InputRules::new(config.config.currency));
            assert_eq!(wire::currency_by_code(code, None), Some(rules.currency));
        }
    }
}
