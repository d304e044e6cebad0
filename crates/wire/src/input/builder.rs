//! The one way to an event: slots, filled by a decoder, then validated as a whole.
//!
//! Filling never fails; only the fields that the event's type has are looked at, so that whatever
//! else a producer sends cannot get a good event rejected.

use domain::event::{
    Body, Campaign, Event, GUEST_PREFIX, Line, OrderCompleted, OrderRefunded, Product, Text,
    VISITOR_PREFIX,
};
use domain::money::{Minor, Units};
use domain::time::TimeMs;
use rustc_hash::FxHashSet;
use smol_str::SmolStr;

use super::convert::{self, Field};
use super::slot::{LineSlot, Scalar, Slot};
use crate::rejection::{Rejection, RejectionClass as Class};
use crate::rules::{InputRules, iso_code};

/// The fields of one event as a record holds them, not yet validated.
#[derive(Clone, Debug)]
pub struct EventBuilder<'a> {
    slots: [Scalar<'a>; Slot::COUNT],
    lines: Vec<[Scalar<'a>; LineSlot::COUNT]>,
}

impl Default for EventBuilder<'_> {
    fn default() -> Self {
        EventBuilder {
            slots: [Scalar::Null; Slot::COUNT],
            lines: Vec::new(),
        }
    }
}

impl<'a> EventBuilder<'a> {
    /// Sets a field of the event.
    pub fn set(&mut self, slot: Slot, value: Scalar<'a>) {
        self.slots[slot as usize] = value;
    }

    /// A field of the event as set.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Scalar<'a> {
        self.slots[slot as usize]
    }

    /// Begins a further line; [`EventBuilder::set_line`] then fills it.
    ///
    /// # Errors
    /// There are more lines than the rules allow.
    pub fn begin_line(&mut self, rules: &InputRules) -> Result<(), Rejection> {
        if self.lines.len() >= rules.max_lines {
            let message = format!(
                "products has more than {} lines: send the order in several partial events",
                rules.max_lines
            );
            return Err(Rejection::new(Class::TooManyLines, message));
        }
        self.lines.push([Scalar::Null; LineSlot::COUNT]);
        Ok(())
    }

    /// Sets a field of the line begun last.
    pub fn set_line(&mut self, slot: LineSlot, value: Scalar<'a>) {
        if let Some(line) = self.lines.last_mut() {
            line[slot as usize] = value;
        }
    }

    /// Validates the fields and makes the event. `record_time` is the record's own timestamp, the
    /// bound of what counts as the future.
    ///
    /// # Errors
    /// The first fault found.
    pub fn finish(&self, rules: &InputRules, record_time: TimeMs) -> Result<Event, Rejection> {
        let reader = Reader { from: self, rules };
        let type_name = match self.get(Slot::Type) {
            Scalar::Null => return Err(missing(Field::Event(Slot::Type))),
            Scalar::Text(name) => name,
            _ => return Err(unknown_type()),
        };
        let body = reader.body(type_name)?;
        let event = Event {
            id: reader.required_id(Slot::EventId)?,
            time: reader.event_time(record_time)?,
            customer_id: reader.customer_id()?,
            anonymous_id: reader.id(Slot::AnonymousId)?,
            session_id: reader.id(Slot::SessionId)?,
            channel: reader.text(Slot::Channel)?,
            campaign: reader.campaign()?,
            country: reader.text(Slot::Country)?,
            body,
        };
        if event.owner().is_none() {
            let message = "neither customer_id nor anonymous_id is set: only orders, their \
                           cancellations and their refunds may come without";
            return Err(Rejection::new(Class::MissingKey, message));
        }
        Ok(event)
    }
}

fn missing(field: Field) -> Rejection {
    let message = format!("{field} is absent or null: this event needs it");
    Rejection::new(Class::MissingField, message)
}

fn unknown_type() -> Rejection {
    Rejection::new(
        Class::UnknownEventType,
        "the event's name is none of the vocabulary: see schemas/input, or use a mapping",
    )
}

/// The slots of one builder under the rules that they are validated by.
struct Reader<'b, 'a> {
    from: &'b EventBuilder<'a>,
    rules: &'b InputRules,
}

impl<'a> Reader<'_, 'a> {
    fn get(&self, slot: Slot) -> Scalar<'a> {
        self.from.get(slot)
    }

    fn id(&self, slot: Slot) -> Result<Option<Text>, Rejection> {
        convert::id(&self.get(slot), Field::Event(slot), self.rules.max_id_bytes)
    }

    fn required_id(&self, slot: Slot) -> Result<Text, Rejection> {
        self.id(slot)?.ok_or_else(|| missing(Field::Event(slot)))
    }

    fn text(&self, slot: Slot) -> Result<Option<Text>, Rejection> {
        convert::text(&self.get(slot), Field::Event(slot), self.rules.max_id_bytes)
    }

    /// Text that is bounded by the record's size only.
    fn long_text(&self, slot: Slot) -> Result<Option<Text>, Rejection> {
        convert::text(&self.get(slot), Field::Event(slot), usize::MAX)
    }

    fn amount_from_zero(&self, slot: Slot) -> Result<Option<Minor>, Rejection> {
        convert::amount_from_zero(&self.get(slot), Field::Event(slot), self.rules)
    }

    fn event_time(&self, record_time: TimeMs) -> Result<TimeMs, Rejection> {
        let field = Field::Event(Slot::EventTime);
        let time = convert::instant(&self.get(Slot::EventTime), field)?;
        let time = time.ok_or_else(|| missing(field))?;
        if time < self.rules.earliest {
            let message = format!(
                "event_time {time} is before {}: check that it is in milliseconds, or set an \
                 earlier limit",
                self.rules.earliest
            );
            return Err(Rejection::new(Class::EventTimeBeforeLimit, message));
        }
        if time > record_time.plus(self.rules.future_bound_ms) {
            let message = format!(
                "event_time {time} is more than {} ms after the record's own time {record_time}: \
                 check the producer's clock and its unit of time",
                self.rules.future_bound_ms
            );
            return Err(Rejection::new(Class::EventTimeInFuture, message));
        }
        Ok(time)
    }

    fn customer_id(&self) -> Result<Option<Text>, Rejection> {
        let id = self.id(Slot::CustomerId)?;
        let reserved = |id: &Text| id.starts_with(VISITOR_PREFIX) || id.starts_with(GUEST_PREFIX);
        if id.as_ref().is_some_and(reserved) {
            let message = format!(
                "customer_id begins with {VISITOR_PREFIX} or {GUEST_PREFIX}, which mark visitors \
                 and guest orders: send visitors as anonymous_id, without the prefix"
            );
            return Err(Rejection::new(Class::ReservedKeyPrefix, message));
        }
        Ok(id)
    }

    fn campaign(&self) -> Result<Option<Box<Campaign>>, Rejection> {
        let campaign = Campaign {
            source: self.text(Slot::CampaignSource)?,
            medium: self.text(Slot::CampaignMedium)?,
            name: self.text(Slot::CampaignName)?,
        };
        Ok((campaign != Campaign::default()).then(|| Box::new(campaign)))
    }

    fn body(&self, type_name: &str) -> Result<Body, Rejection> {
        Ok(match type_name {
            "page_viewed" => Body::PageViewed {
                url: self.long_text(Slot::Url)?,
            },
            "products_searched" => Body::ProductsSearched {
                query: self.query()?,
            },
            "product_list_viewed" => Body::ProductListViewed {
                category: self.text(Slot::Category)?,
            },
            "product_viewed" => Body::ProductViewed(self.product()?),
            "product_compared" => Body::ProductCompared(self.product()?),
            "wishlist_added" => Body::WishlistAdded(self.product()?),
            "product_added" => Body::ProductAdded {
                product: self.product()?,
                quantity: self.cart_quantity()?,
            },
            "product_removed" => Body::ProductRemoved {
                product: self.product()?,
                quantity: self.cart_quantity()?,
            },
            "cart_viewed" => Body::CartViewed,
            "checkout_started" => Body::CheckoutStarted,
            "order_completed" => Body::OrderCompleted(Box::new(self.order()?)),
            "order_cancelled" => Body::OrderCancelled {
                order_id: self.required_id(Slot::OrderId)?,
            },
            "order_refunded" => Body::OrderRefunded(Box::new(self.refund()?)),
            "order_delivered" => Body::OrderDelivered {
                order_id: self.required_id(Slot::OrderId)?,
            },
            "lead_captured" => Body::LeadCaptured,
            "product_reviewed" => Body::ProductReviewed {
                product_id: self.id(Slot::ProductId)?,
                rating: self.answer(Slot::Rating, 1..=5)?,
            },
            "product_shared" => Body::ProductShared {
                product_id: self.id(Slot::ProductId)?,
            },
            "referral_converted" => Body::ReferralConverted {
                referee: self.id(Slot::Referee)?,
            },
            "nps_answered" => Body::NpsAnswered {
                score: self.answer(Slot::Score, 0..=10)?,
            },
            "message_opened" => Body::MessageOpened,
            "message_clicked" => Body::MessageClicked,
            _ => return Err(unknown_type()),
        })
    }

    /// A search for nothing is a search.
    fn query(&self) -> Result<Text, Rejection> {
        match self.get(Slot::Query) {
            Scalar::Text("") => Ok(Text::default()),
            _ => self
                .long_text(Slot::Query)?
                .ok_or_else(|| missing(Field::Event(Slot::Query))),
        }
    }

    fn answer(&self, slot: Slot, range: std::ops::RangeInclusive<u8>) -> Result<u8, Rejection> {
        let field = Field::Event(slot);
        convert::small_integer(&self.get(slot), field, range)?.ok_or_else(|| missing(field))
    }

    fn check_currency(&self) -> Result<(), Rejection> {
        let found = match self.get(Slot::Currency) {
            Scalar::Null => return Ok(()),
            Scalar::Text(code) => iso_code(code),
            _ => None,
        };
        let shop = self.rules.currency;
        if found == Some(shop.code) {
            return Ok(());
        }
        let known = found.as_ref().and_then(|c| std::str::from_utf8(c).ok());
        match known.and_then(iso_currency::Currency::from_code) {
            Some(other) => Err(Rejection::new(
                Class::OtherCurrency,
                format!(
                    "currency is {}, the shop's is {shop}: convert at the source",
                    other.code()
                ),
            )),
            None => Err(Rejection::new(
                Class::UnknownCurrency,
                format!("currency is no code of ISO 4217: send three letters, such as {shop}"),
            )),
        }
    }

    fn product(&self) -> Result<Product, Rejection> {
        let price = self.amount_from_zero(Slot::Price)?;
        if price.is_some() {
            self.check_currency()?;
        }
        Ok(Product {
            product_id: self.required_id(Slot::ProductId)?,
            category: self.text(Slot::Category)?,
            price,
        })
    }

    fn cart_quantity(&self) -> Result<Units, Rejection> {
        let field = Field::Event(Slot::Quantity);
        match convert::quantity(&self.get(Slot::Quantity), field)? {
            Some(negative) if negative < Units::default() => Err(Rejection::new(
                Class::QuantityOutOfRange,
                "quantity is negative: what leaves the cart is an event of its own, \
                 product_removed, with a positive quantity",
            )),
            found => Ok(found.unwrap_or(Units::ONE)),
        }
    }

    fn partial(&self) -> Result<bool, Rejection> {
        let field = Field::Event(Slot::Partial);
        Ok(convert::boolean(&self.get(Slot::Partial), field)?.unwrap_or(false))
    }

    fn order(&self) -> Result<OrderCompleted, Rejection> {
        self.check_currency()?;
        let partial = self.partial()?;
        let or_zero = |found: Option<Minor>| found.unwrap_or(Minor::ZERO);
        let order = OrderCompleted {
            order_id: self.required_id(Slot::OrderId)?,
            partial,
            subtotal: self.amount_from_zero(Slot::Subtotal)?,
            discount: or_zero(self.amount_from_zero(Slot::Discount)?),
            coupon: self.text(Slot::Coupon)?,
            tax: or_zero(self.amount_from_zero(Slot::Tax)?),
            shipping: or_zero(self.amount_from_zero(Slot::Shipping)?),
            total: self.amount_from_zero(Slot::Total)?,
            cogs: self.amount_from_zero(Slot::Cogs)?,
            lines: self.lines(partial)?,
        };
        let states_value = order.subtotal.is_some() || order.total.is_some();
        if !partial && !states_value && order.lines.is_empty() {
            let message = "the order states no value: send products, subtotal or total";
            return Err(Rejection::new(Class::MissingField, message));
        }
        Ok(order)
    }

    fn refund(&self) -> Result<OrderRefunded, Rejection> {
        self.check_currency()?;
        let partial = self.partial()?;
        let lines = self.lines(partial)?;
        Ok(OrderRefunded {
            refund_id: self.required_id(Slot::RefundId)?,
            order_id: self.id(Slot::OrderId)?,
            partial,
            amount: self.refund_amount(partial, &lines)?,
            lines,
        })
    }

    /// On a partial event the lines say it; a whole refund states it, or its lines do.
    fn refund_amount(&self, partial: bool, lines: &[Line]) -> Result<Minor, Rejection> {
        let field = Field::Event(Slot::Amount);
        let sum: Minor = lines.iter().map(|line| line.amount).sum();
        if partial && lines.is_empty() {
            return Err(missing(Field::Event(Slot::Products)));
        }
        if partial {
            return Ok(sum);
        }
        if let Some(stated) = self.amount_from_zero(Slot::Amount)? {
            return Ok(stated);
        }
        if lines.is_empty() {
            return Err(missing(field));
        }
        if sum < Minor::ZERO {
            let message = "the lines of the refund add up to less than zero: count what is given \
                           back as positive, or state amount";
            return Err(Rejection::new(Class::AmountNegative, message));
        }
        Ok(sum)
    }

    fn lines(&self, partial: bool) -> Result<Vec<Line>, Rejection> {
        if self.get(Slot::Products) != Scalar::Null {
            let message = "products is no list of objects: send one object per line";
            return Err(Rejection::new(Class::WrongType, message));
        }
        let raw = self.from.lines.iter().enumerate();
        let lines = raw
            .map(|(index, slots)| self.line(index, slots, partial))
            .collect::<Result<Vec<Line>, Rejection>>()?;
        let mut seen = FxHashSet::default();
        for (index, line) in lines.iter().enumerate() {
            if lines.len() > 1 && !seen.insert(&line.line_id) {
                let message = format!(
                    "products[{index}].line_id stands on an earlier line of the same event: give \
                     each line its own"
                );
                return Err(Rejection::new(Class::DuplicateLineId, message));
            }
        }
        self.check_sum(&lines)?;
        Ok(lines)
    }

    /// Lines that are within bounds one by one may add up to what no order may have.
    fn check_sum(&self, lines: &[Line]) -> Result<(), Rejection> {
        let sum: i128 = lines.iter().map(|line| i128::from(line.amount.0)).sum();
        if sum.unsigned_abs() > u128::from(self.rules.max_amount.0.unsigned_abs()) {
            let largest = self.rules.currency.format(self.rules.max_amount);
            let message = format!(
                "the lines of products add up beyond the largest amount accepted, {largest}"
            );
            return Err(Rejection::new(Class::AmountOutOfRange, message));
        }
        Ok(())
    }

    fn line(
        &self,
        index: usize,
        slots: &[Scalar<'a>; LineSlot::COUNT],
        partial: bool,
    ) -> Result<Line, Rejection> {
        let limit = self.rules.max_id_bytes;
        let field = |slot| Field::Line(index, slot);
        let id = |slot| convert::id(&slots[slot as usize], field(slot), limit);
        let line_id = match id(LineSlot::LineId)? {
            Some(given) => given,
            None if partial => return Err(missing(field(LineSlot::LineId))),
            None => SmolStr::from(index.to_string()),
        };
        let product_id = id(LineSlot::ProductId)?;
        let category = &slots[LineSlot::Category as usize];
        let quantity = &slots[LineSlot::Quantity as usize];
        let quantity = convert::quantity(quantity, field(LineSlot::Quantity))?;
        let quantity = quantity.unwrap_or(Units::ONE);
        let amount = &slots[LineSlot::Amount as usize];
        let amount = match convert::amount(amount, field(LineSlot::Amount), self.rules)? {
            Some(stated) => stated,
            None => self.line_amount(index, &slots[LineSlot::Price as usize], quantity)?,
        };
        Ok(Line {
            line_id,
            product_id: product_id.ok_or_else(|| missing(field(LineSlot::ProductId)))?,
            category: convert::text(category, field(LineSlot::Category), limit)?,
            quantity,
            amount,
        })
    }

    /// Unit price times quantity, if that is a whole count of the currency's unit.
    fn line_amount(
        &self,
        index: usize,
        price: &Scalar<'a>,
        quantity: Units,
    ) -> Result<Minor, Rejection> {
        let field = Field::Line(index, LineSlot::Amount);
        let price_field = Field::Line(index, LineSlot::Price);
        let Some(price) = convert::amount(price, price_field, self.rules)? else {
            let message = format!("{field} is absent, and so is the unit price: send either");
            return Err(Rejection::new(Class::MissingField, message));
        };
        let thousandths = i128::from(price.0) * i128::from(quantity.0);
        if thousandths % 1000 != 0 {
            let message = format!(
                "price times quantity of products[{index}] is no whole count of the smallest unit \
                 of {}: send the line's amount",
                self.rules.currency
            );
            return Err(Rejection::new(Class::AmountPrecision, message));
        }
        // Beyond i64 it is beyond every limit as well.
        let amount = i64::try_from(thousandths / 1000).unwrap_or(i64::MAX);
        convert::within_bounds(Minor(amount), field, self.rules)
    }
}
