//! What shop to make up, and what is wrong with that.

use domain::time::TimeMs;

use crate::shop::ShopTraffic;

/// What shop to make up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShopConfig {
    /// The same seed gives the same events.
    pub seed: u64,
    /// People with an account, which shows from their sign-up or first checkout on. Some of them
    /// leave before either.
    pub customers: u32,
    /// Visitors who never identify and never buy, per thousand people; at most 990.
    pub visitors_per_mille: u32,
    /// First instant of the span.
    pub start: TimeMs,
    /// Days of the span, 1 to 36,500.
    pub days: u32,
    /// Products in the catalogue, 12 to 99,999.
    pub products: u32,
    /// Decimals of the shop's currency, 0 to 6.
    pub decimals: u8,
}

impl Default for ShopConfig {
    /// Ten thousand customers and twice as many visitors, over the year 2024.
    fn default() -> ShopConfig {
        ShopConfig {
            seed: 1,
            customers: 10_000,
            visitors_per_mille: 667,
            start: TimeMs(1_704_067_200_000),
            days: 366,
            products: 1_000,
            decimals: 2,
        }
    }
}

/// What is wrong with a [`ShopConfig`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field} is {found}, must be {allowed}")]
pub struct ConfigError {
    /// The field's name.
    pub field: &'static str,
    /// What it holds.
    pub found: i64,
    /// What it may hold.
    pub allowed: &'static str,
}

impl ShopConfig {
    /// Every problem at once.
    ///
    /// # Errors
    /// The fields that are out of range.
    pub fn check(&self) -> Result<(), Vec<ConfigError>> {
        let year_9000 = 221_845_219_200_000;
        let fields = [
            (
                "customers",
                self.customers.into(),
                1..=1_000_000_000,
                "1 to 1,000,000,000",
            ),
            (
                "visitors_per_mille",
                self.visitors_per_mille.into(),
                0..=990,
                "0 to 990",
            ),
            (
                "start",
                self.start.0,
                0..=year_9000,
                "between the years 1970 and 9000",
            ),
            ("days", self.days.into(), 1..=36_500, "1 to 36,500"),
            (
                "products",
                self.products.into(),
                12..=99_999,
                "12 to 99,999",
            ),
            ("decimals", self.decimals.into(), 0..=6, "0 to 6"),
        ];
        let problems: Vec<ConfigError> = fields
            .into_iter()
            .filter(|(_, found, range, _)| !range.contains(found))
            .map(|(field, found, _, allowed)| ConfigError {
                field,
                found,
                allowed,
            })
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// The same shop with as many customers as it takes for at least `events` events over the
    /// span, found by simulating a small one. Meant to be followed by `.take(events)`.
    ///
    /// # Errors
    /// The fields that are out of range.
    pub fn sized_for(&self, events: u64) -> Result<ShopConfig, Vec<ConfigError>> {
        const PILOT: u32 = 2_000;
        let pilot = ShopConfig {
            customers: PILOT,
            ..self.clone()
        };
        let found = ShopTraffic::new(&pilot)?.count() as u64;
        // A few customers make much of the traffic: an eighth more than proportion says.
        let needed = u128::from(events) * u128::from(PILOT) * 9 / 8 / u128::from(found.max(1));
        let customers = u32::try_from(needed + 100).unwrap_or(u32::MAX);
        let sized = ShopConfig {
            customers,
            ..self.clone()
        };
        sized.check().map(|()| sized)
    }
}
