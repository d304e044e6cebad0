//! What the configuration makes of the parts that take settings of their own: definitions and input rules, schemas,
//! mappings, the registry.
//!
//! Nothing of a deployment is opened for it. What its first start has fixed takes precedence, which is up to the
//! caller.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use config::Config;
use domain::definitions::Definitions;
use domain::money::{Currency, Minor};
use domain::prediction::Horizon;
use registry::Registry;
use wire::mapping::Mapping;
use wire::{Format, InputRules, SchemaSet};

use crate::error::RuntimeError;

pub(crate) fn format_of(config: &Config) -> Format {
    match config.format {
        config::Format::Avro => Format::Avro,
        config::Format::Json => Format::Json,
    }
}

/// The project's own schemas and the configured ones.
///
/// # Errors
/// A file cannot be read, is no Avro schema, or has an id that is taken.
pub fn schemas_of(config: &Config) -> Result<SchemaSet, RuntimeError> {
    let mut extra = Vec::new();
    for (id, path) in &config.input.schemas {
        let text = std::fs::read_to_string(path).map_err(|source| RuntimeError::SchemaFile {
            path: path.clone(),
            source,
        })?;
        extra.push((*id, text));
    }
    Ok(SchemaSet::with_extra(extra)?)
}

/// Reads a mapping file.
///
/// # Errors
/// It cannot be read, or is no mapping.
pub(crate) fn read_mapping(path: &Path) -> Result<Mapping, RuntimeError> {
    let text = std::fs::read_to_string(path).map_err(|source| RuntimeError::MappingFile {
        path: path.to_owned(),
        source,
    })?;
    let name = path.display().to_string();
    Mapping::parse(&name, &text).map_err(RuntimeError::Mapping)
}

/// The configured schema registry.
pub(crate) fn registry_of(config: &Config) -> Result<Option<Arc<Registry>>, RuntimeError> {
    let Some(configured) = &config.registry else {
        return Ok(None);
    };
    Ok(Some(Arc::new(Registry::new(&registry_settings(
        configured,
    )?)?)))
}

/// How to reach the schema registry, with its password.
///
/// # Errors
/// The password is not where it should be.
pub fn registry_settings(
    configured: &config::Registry,
) -> Result<registry::Settings, RuntimeError> {
    let mut settings = registry::Settings::new(configured.url.clone());
    if let (Some(user), Some(password)) = (&configured.username, &configured.password) {
        settings.credentials = Some((user.clone(), password.read()?.reveal().to_owned()));
    }
    settings.ssl_ca.clone_from(&configured.ssl_ca);
    settings.timeout = configured.timeout;
    settings.refresh_unknown = configured.refresh_unknown;
    Ok(settings)
}

/// What an event must satisfy to be taken in, for a shop that accounts in `currency`.
#[must_use]
pub fn input_rules(config: &Config, currency: Currency) -> InputRules {
    // The limit is configured in the configured currency's decimals.
    let finer = i32::from(currency.decimals) - i32::from(config.currency.decimals);
    let scale = 10_i64.pow(finer.unsigned_abs());
    let max_amount = Minor(match finer {
        0.. => config.limits.max_order_amount.0.saturating_mul(scale),
        _ => config.limits.max_order_amount.0 / scale,
    });
    InputRules {
        earliest: config.limits.earliest_event_time,
        future_bound_ms: millis(config.limits.future_bound),
        max_amount,
        max_value_bytes: config.limits.max_value_bytes,
        ..InputRules::new(currency)
    }
}

pub(crate) fn definitions_of(config: &Config) -> Definitions {
    Definitions {
        session_gap_ms: millis(config.time.session_gap),
        grace_ms: millis(config.time.grace),
        expected_lifetime_years: config.clv.expected_lifetime_years,
        population_orders_per_year: config.clv.population_orders_per_year,
        include_tax: config.clv.include_tax,
        include_shipping: config.clv.include_shipping,
        cost_per_order: config.clv.cost_per_order,
        cost_per_refund: config.clv.cost_per_refund,
        horizon: Horizon {
            days: config.clv.horizon_days,
            yearly_discount: config.clv.yearly_discount,
            margin_rate: config.clv.margin_rate,
        },
        epsilon: config.clv.epsilon,
        ..Definitions::preset(config.currency)
    }
}

/// Milliseconds of a configured duration, whose bounds the configuration checks.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pure crate's defaults are the documented ones.
    #[test]
    fn an_empty_configuration_gives_the_default_rules() {
        for code in ["USD", "JPY", "KWD", "XAU"] {
            let loaded = config::parse("test", "", &[format!("currency.code={code}")]);
            let config = loaded.expect("a currency").config;
            let rules = input_rules(&config, config.currency);
            assert_eq!(rules, InputRules::new(config.currency));
            assert_eq!(wire::currency_by_code(code, None), Some(rules.currency));
        }
    }

    #[test]
    fn the_limit_on_amounts_follows_the_currency_of_the_data() {
        let config = config::parse("test", "", &[]).expect("defaults").config;
        for code in ["JPY", "USD", "KWD"] {
            let currency = wire::currency_by_code(code, None).expect("a currency");
            let rules = input_rules(&config, currency);
            assert_eq!(rules, InputRules::new(currency));
        }
    }
}
