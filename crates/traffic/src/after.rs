//! The order itself, and what becomes of it: cancelled, delivered, given back.

use domain::event::{Line, OrderCompleted, OrderRefunded, Text};
use domain::money::{Minor, Units};
use smol_str::SmolStr;

use crate::catalogue::{Catalogue, minor};
use crate::person::Person;
use crate::random::Random;
use crate::session::{CART_MAX, CartLine, amount};

/// An order that something may still happen to.
pub(crate) struct Placed {
    /// Number of the order.
    pub(crate) number: u64,
    /// Number of the person.
    pub(crate) person: u32,
    subtotal: Minor,
    discount: Minor,
    lines: [CartLine; CART_MAX],
    len: usize,
}

/// Coupons: code, and percent off.
const COUPONS: [(&str, i64); 4] = [
    ("WELCOME5", 5),
    ("SAVE10", 10),
    ("SPRING20", 20),
    ("OUTLET30", 30),
];
const VAT_PERCENT: i64 = 19;
/// Shipping in hundredths, and the goods' worth from which it is free.
const SHIPPING: (i64, i64) = (495, 5_000);

impl Placed {
    /// The order of a cart, which is not empty.
    pub(crate) fn new(number: u64, who: &Person, cart: &[CartLine], shop: &Catalogue) -> Placed {
        let mut lines = [CartLine::default(); CART_MAX];
        lines[..cart.len()].copy_from_slice(cart);
        Placed {
            number,
            person: who.number,
            subtotal: cart.iter().map(|&line| amount(shop, line)).sum(),
            discount: Minor::ZERO,
            lines,
            len: cart.len(),
        }
    }

    /// The event's body. Draws discount and coupon, and remembers the discount.
    pub(crate) fn complete(
        &mut self,
        order_id: Text,
        who: &Person,
        shop: &Catalogue,
        decimals: u8,
        random: &mut Random,
    ) -> OrderCompleted {
        let (percent, coupon) = draw_discount(who, random);
        self.discount = Minor(self.subtotal.0 * percent / 100);
        let goods = self.subtotal - self.discount;
        let (fee, free_from) = (minor(SHIPPING.0, decimals), minor(SHIPPING.1, decimals));
        let shipping = if goods < free_from { fee } else { Minor::ZERO };
        let tax = Minor(goods.0 * VAT_PERCENT / 100);
        OrderCompleted {
            order_id,
            partial: false,
            subtotal: Some(self.subtotal),
            discount: self.discount,
            coupon: coupon.map(SmolStr::new_static),
            tax,
            shipping,
            total: Some(goods + tax + shipping),
            cogs: Some(
                self.lines()
                    .map(|(_, l)| shop.cost(l.product, amount(shop, l)))
                    .sum(),
            ),
            lines: self
                .lines()
                .map(|(index, line)| event_line(index, line, amount(shop, line), shop))
                .collect(),
        }
    }

    /// A product of the order.
    pub(crate) fn some_product(&self, random: &mut Random) -> u32 {
        self.lines[random.below(self.len as u64) as usize].product
    }

    /// What the customer gets back: everything, or some units of one line. Amounts are what was
    /// paid for the goods: less their share of the discount, without tax and shipping.
    pub(crate) fn refund(
        &self,
        refund_id: Text,
        order_id: Text,
        shop: &Catalogue,
        random: &mut Random,
    ) -> OrderRefunded {
        let whole = random.chance(600);
        let chosen = random.below(self.len as u64) as usize;
        let mut lines = Vec::new();
        let mut before = Minor::ZERO;
        for (index, line) in self.lines() {
            let upto = before + amount(shop, line);
            // Differences of rounded-down running sums: the shares add up to the discount exactly.
            let paid = upto - before - (self.discount_upto(upto) - self.discount_upto(before));
            before = upto;
            if whole {
                lines.push(event_line(index, line, paid, shop));
            } else if index == chosen {
                let quantity = random.between(1, line.quantity);
                let part = CartLine { quantity, ..line };
                let paid = Minor(paid.0 * quantity / line.quantity);
                lines.push(event_line(index, part, paid, shop));
            }
        }
        OrderRefunded {
            refund_id,
            order_id: Some(order_id),
            partial: false,
            amount: lines.iter().map(|line| line.amount).sum(),
            lines,
        }
    }

    fn discount_upto(&self, sum: Minor) -> Minor {
        Minor(self.discount.0 * sum.0 / self.subtotal.0)
    }

    fn lines(&self) -> impl Iterator<Item = (usize, CartLine)> + '_ {
        self.lines[..self.len].iter().copied().enumerate()
    }
}

fn event_line(index: usize, line: CartLine, amount: Minor, shop: &Catalogue) -> Line {
    Line {
        line_id: SmolStr::new_static(["0", "1", "2", "3", "4", "5"][index]),
        product_id: shop.id(line.product),
        category: shop.category(line.product),
        quantity: Units(line.quantity * Units::ONE.0),
        amount,
    }
}

/// Percent off, and the coupon's code unless the reduction is the shop's own.
fn draw_discount(who: &Person, random: &mut Random) -> (i64, Option<&'static str>) {
    if who.bargain_hunter {
        let (code, percent) = COUPONS[2 + random.below(2) as usize];
        return (percent, Some(code));
    }
    match random.below(1000) {
        0..=69 if who.orders == 0 => (COUPONS[0].1, Some(COUPONS[0].0)),
        70..=139 => (COUPONS[1].1, Some(COUPONS[1].0)),
        140..=169 => (COUPONS[2].1, Some(COUPONS[2].0)),
        170..=179 => (COUPONS[3].1, Some(COUPONS[3].0)),
        180..=229 => (10, None),
        _ => (0, None),
    }
}
