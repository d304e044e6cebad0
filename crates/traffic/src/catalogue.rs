//! What the shop sells: fixed products with categories, prices and costs, some far more popular
//! than others.

use domain::event::{Product, Text};
use domain::money::Minor;
use smol_str::SmolStr;

use crate::random::{Random, mix};

/// Categories of the shop.
pub(crate) const CATEGORIES: [&str; 12] = [
    "books",
    "music",
    "film",
    "games",
    "garden",
    "kitchen",
    "lighting",
    "outdoor",
    "sports",
    "toys",
    "clothing",
    "stationery",
];

/// Products by rank of popularity; the k-th is as popular as 1/k (Zipf's law).
///
/// Products, prices and costs are the same for every seed: they depend on the rank alone.
pub(crate) struct Catalogue {
    products: Vec<Product>,
    /// Cost in thousandths of the price.
    cost_per_mille: Vec<u16>,
    /// Summed popularity up to and including each product.
    popularity: Vec<u64>,
    /// The same within each category, with the products' ranks.
    by_category: Vec<Vec<(u64, u32)>>,
}

impl Catalogue {
    /// A catalogue of so many products (at least one per category), priced in a currency with
    /// so many decimals.
    pub(crate) fn new(products: u32, decimals: u8) -> Catalogue {
        let mut catalogue = Catalogue {
            products: Vec::new(),
            cost_per_mille: Vec::new(),
            popularity: Vec::new(),
            by_category: vec![Vec::new(); CATEGORIES.len()],
        };
        let mut total = 0;
        for rank in 0..products {
            let bits = mix(u64::from(rank));
            let category = rank as usize % CATEGORIES.len();
            let weight = (1 << 32) / u64::from(rank + 1);
            total += weight;
            catalogue.popularity.push(total);
            let within = &mut catalogue.by_category[category];
            within.push((within.last().map_or(0, |last| last.0) + weight, rank));
            catalogue
                .cost_per_mille
                .push(450 + (bits >> 40 & 255) as u16);
            catalogue.products.push(Product {
                product_id: SmolStr::from(format!("p-{rank:05}")),
                category: Some(SmolStr::new_static(CATEGORIES[category])),
                price: Some(minor(price_in_hundredths(bits), decimals)),
            });
        }
        catalogue
    }

    /// A product as browsing events name it.
    pub(crate) fn product(&self, rank: u32) -> Product {
        self.products[rank as usize].clone()
    }

    /// Its price.
    pub(crate) fn price(&self, rank: u32) -> Minor {
        self.products[rank as usize].price.unwrap_or(Minor(1))
    }

    /// Its id.
    pub(crate) fn id(&self, rank: u32) -> Text {
        self.products[rank as usize].product_id.clone()
    }

    /// Its category.
    pub(crate) fn category(&self, rank: u32) -> Option<Text> {
        self.products[rank as usize].category.clone()
    }

    /// What so much worth of it cost the shop.
    pub(crate) fn cost(&self, rank: u32, amount: Minor) -> Minor {
        Minor(amount.0 * i64::from(self.cost_per_mille[rank as usize]) / 1000)
    }

    /// Any product, by popularity.
    pub(crate) fn draw(&self, random: &mut Random) -> u32 {
        let total = self.popularity.last().copied().unwrap_or(0);
        let point = random.below(total);
        self.popularity.partition_point(|&sum| sum <= point) as u32
    }

    /// A product of one category, by popularity.
    pub(crate) fn draw_in(&self, category: u8, random: &mut Random) -> u32 {
        let within = &self.by_category[usize::from(category)];
        let point = random.below(within.last().map_or(0, |last| last.0));
        within[within.partition_point(|entry| entry.0 <= point)].1
    }
}

/// From 4.50 to 599.99, mostly small.
fn price_in_hundredths(bits: u64) -> i64 {
    let (low, high) = match bits & 15 {
        0..=6 => (5, 20),
        7..=12 => (20, 60),
        13 | 14 => (60, 150),
        _ => (150, 600),
    };
    let whole = low + (bits >> 8 & 0xffff) as i64 * (high - low) / 0x1_0000;
    let ending = [-1, -5, -50, 0][(bits >> 32 & 3) as usize];
    whole * 100 + ending
}

/// Hundredths in units of a currency with so many decimals, at least one unit.
pub(crate) fn minor(hundredths: i64, decimals: u8) -> Minor {
    let amount = match decimals {
        0 => hundredths / 100,
        1 => hundredths / 10,
        more => hundredths * 10_i64.pow(u32::from(more) - 2),
    };
    Minor(amount.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_positive_in_every_currency() {
        for (decimals, least, most) in [
            (0, 4, 600),
            (1, 45, 6_000),
            (2, 450, 60_000),
            (6, 4_500_000, 600_000_000),
        ] {
            let catalogue = Catalogue::new(2_000, decimals);
            let prices: Vec<i64> = (0..2_000).map(|rank| catalogue.price(rank).0).collect();
            assert!(
                prices.iter().all(|p| (least..=most).contains(p)),
                "{decimals} decimals"
            );
        }
        let price = Catalogue::new(12, 2).price(5);
        assert_eq!(Catalogue::new(12, 3).price(5).0, price.0 * 10);
        assert_eq!(Catalogue::new(500, 2).price(5), price, "prices are fixed");
    }

    #[test]
    fn popularity_follows_zipf() {
        let catalogue = Catalogue::new(100, 2);
        let mut random = Random::new(9, 9);
        let mut drawn = [0_u32; 100];
        for _ in 0..100_000 {
            drawn[catalogue.draw(&mut random) as usize] += 1;
            let within = catalogue.draw_in(3, &mut random);
            assert_eq!(within % 12, 3);
        }
        // The harmonic number of 100 is 5.187.
        for (rank, share) in [(0, 0.1928), (1, 0.0964), (9, 0.0193)] {
            let found = f64::from(drawn[rank]) / 100_000.0;
            assert!((found / share - 1.0).abs() < 0.1, "rank {rank}: {found}");
        }
        assert!(drawn.iter().all(|&n| n > 0));
    }
}
