//! What a customer does on the site: sessions, views, cart, favourites, touches, signals.
//!
//! Events are taken in in time order (the profile sees to that); one that comes later than the
//! grace counts in the totals and in what is first or last (touches, country), and changes no
//! session, bucket or cart.
//!
//! Windows over behaviour are exact to the UTC day: counts are kept in buckets of one day, for
//! [`BUCKET_DAYS`] days. A day leaves a window of N days when N·24 h have passed since its end.

use crate::event::{Body, Campaign, Event, Text};
use crate::money::Units;
use crate::time::{DAY_MS, Day, TimeMs};

/// Days for which buckets are kept: the longest window.
pub const BUCKET_DAYS: u32 = 365;
/// How many favourite categories and products are kept.
pub const TOP_CAPACITY: usize = 8;
/// How many advocacy signals are kept: more than any rule asks for.
const SIGNAL_CAPACITY: usize = 16;
/// How many different products a cart holds here; further ones count but are not named.
const CART_CAPACITY: usize = 50;

/// Counts since the first event, late ones included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Events of any kind that name this owner.
    pub events: u64,
    /// Events that came later than the grace.
    pub late: u64,
    /// Sessions begun.
    pub sessions: u64,
    /// Pages viewed, product pages and lists included.
    pub page_views: u64,
    /// Product pages viewed.
    pub product_views: u64,
    /// Searches.
    pub searches: u64,
    /// Products put into the cart.
    pub cart_adds: u64,
    /// Checkouts started.
    pub checkouts: u64,
    /// Leads captured.
    pub leads: u64,
}

/// One UTC day of behaviour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bucket {
    /// The day.
    pub day: Day,
    /// Sessions begun on it.
    pub sessions: u32,
    /// Pages viewed, product pages and lists included.
    pub page_views: u32,
    /// Product pages viewed.
    pub product_views: u32,
}

/// The current or last session: events without a gap longer than the configured one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    /// First event.
    pub start: TimeMs,
    /// Last event so far.
    pub last: TimeMs,
}

/// A touchpoint (R16).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Touch {
    /// When.
    pub time: TimeMs,
    /// Through which channel.
    pub channel: Option<Text>,
    /// From which campaign.
    pub campaign: Option<Box<Campaign>>,
}

/// One product in the cart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CartItem {
    /// Product id.
    pub product_id: Text,
    /// How many.
    pub quantity: Units,
}

/// A name and how often it was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counted {
    /// Category or product id.
    pub name: Text,
    /// Estimated count: never less than the true one (Metwally et al. 2005, space saving).
    pub count: u32,
}

/// Signals of advocacy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Signal {
    /// A review with 4 or 5 stars.
    GoodReview,
    /// A product shared.
    Share,
    /// A referral that converted.
    ReferralConverted,
}

/// Behaviour of one owner.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Behaviour {
    /// Counts since the first event.
    pub totals: Totals,
    /// Buckets of days with any session or view, in day order.
    pub days: Vec<Bucket>,
    /// The current or last session.
    pub session: Option<Session>,
    /// First touch, by time.
    pub first_touch: Option<Touch>,
    /// Last touch, by time.
    pub last_touch: Option<Touch>,
    /// What lies in the cart.
    pub cart: Vec<CartItem>,
    /// When the cart last changed.
    pub cart_changed_at: Option<TimeMs>,
    /// Favourite categories, most seen first.
    pub top_categories: Vec<Counted>,
    /// Favourite products, most seen first.
    pub top_products: Vec<Counted>,
    /// Signals of advocacy, oldest first.
    pub signals: Vec<(TimeMs, Signal)>,
    /// The last answer to the NPS question, 0 to 10.
    pub nps: Option<(TimeMs, u8)>,
    /// Time of the latest event of any kind.
    pub last_event: Option<TimeMs>,
    /// Country of the latest event that named one, and that event's time.
    pub last_country: Option<(TimeMs, Text)>,
}

impl Behaviour {
    /// Takes in an event that comes in time order.
    pub fn take(&mut self, event: &Event, session_gap_ms: i64) {
        self.take_totals(event);
        self.take_attributes(event);
        if event.body.is_visit() {
            self.take_visit(event, session_gap_ms);
        }
        match &event.body {
            Body::ProductAdded { product, quantity } => {
                self.put_in_cart(&product.product_id, *quantity, event.time);
            }
            Body::ProductRemoved { product, quantity } => {
                self.put_in_cart(&product.product_id, -*quantity, event.time);
            }
            Body::OrderCompleted(_) => {
                self.cart.clear();
                self.cart_changed_at = None;
            }
            Body::ProductReviewed { rating, .. } if *rating >= 4 => {
                self.signal(event.time, Signal::GoodReview);
            }
            Body::ProductShared { .. } => self.signal(event.time, Signal::Share),
            Body::ReferralConverted { .. } => self.signal(event.time, Signal::ReferralConverted),
            Body::NpsAnswered { score } => self.nps = Some((event.time, *score)),
            _ => {}
        }
        self.take_favourites(&event.body);
    }

    /// Takes in an event that came later than the grace: totals and extremes only.
    pub fn take_late(&mut self, event: &Event) {
        self.take_totals(event);
        add_one(&mut self.totals.late);
        self.take_attributes(event);
    }

    fn take_totals(&mut self, event: &Event) {
        let totals = &mut self.totals;
        add_one(&mut totals.events);
        match &event.body {
            Body::PageViewed { .. } | Body::ProductListViewed { .. } => {
                add_one(&mut totals.page_views);
            }
            Body::ProductViewed(_) => {
                add_one(&mut totals.page_views);
                add_one(&mut totals.product_views);
            }
            Body::ProductsSearched { .. } => add_one(&mut totals.searches),
            Body::ProductAdded { .. } => add_one(&mut totals.cart_adds),
            Body::CheckoutStarted => add_one(&mut totals.checkouts),
            Body::LeadCaptured => add_one(&mut totals.leads),
            _ => {}
        }
    }

    /// What is decided by the latest or earliest time, whatever the order of arrival.
    fn take_attributes(&mut self, event: &Event) {
        self.last_event = self.last_event.max(Some(event.time));
        if let Some(country) = &event.country {
            let newer = (event.time, country.clone());
            if self
                .last_country
                .as_ref()
                .is_none_or(|known| *known < newer)
            {
                self.last_country = Some(newer);
            }
        }
        if !event.body.is_visit() {
            return;
        }
        let touch = || Touch {
            time: event.time,
            channel: event.channel.clone(),
            campaign: event.campaign.clone(),
        };
        if self
            .first_touch
            .as_ref()
            .is_none_or(|t| event.time < t.time)
        {
            self.first_touch = Some(touch());
        }
        if self
            .last_touch
            .as_ref()
            .is_none_or(|t| event.time >= t.time)
        {
            self.last_touch = Some(touch());
        }
    }

    fn take_visit(&mut self, event: &Event, session_gap_ms: i64) {
        let began = match &mut self.session {
            Some(session) if event.time.since(session.last) <= session_gap_ms => {
                session.last = session.last.max(event.time);
                false
            }
            other => {
                *other = Some(Session {
                    start: event.time,
                    last: event.time,
                });
                true
            }
        };
        if began {
            add_one(&mut self.totals.sessions);
        }
        let (page, product) = match &event.body {
            Body::PageViewed { .. } | Body::ProductListViewed { .. } => (1, 0),
            Body::ProductViewed(_) => (1, 1),
            _ => (0, 0),
        };
        if !began && page == 0 {
            return;
        }
        let day = event.time.day();
        if self.days.last().is_none_or(|b| b.day < day) {
            let oldest = day.0.saturating_sub(BUCKET_DAYS as i32);
            self.days.retain(|b| b.day.0 >= oldest);
            self.days.push(Bucket {
                day,
                ..Bucket::default()
            });
        }
        if let Some(bucket) = self.days.iter_mut().rev().find(|b| b.day == day) {
            bucket.sessions = bucket.sessions.saturating_add(u32::from(began));
            bucket.page_views = bucket.page_views.saturating_add(page);
            bucket.product_views = bucket.product_views.saturating_add(product);
        }
    }

    fn put_in_cart(&mut self, product_id: &Text, change: Units, time: TimeMs) {
        match self.cart.iter().position(|i| i.product_id == *product_id) {
            Some(at) => {
                let quantity = self.cart[at].quantity + change;
                if quantity.0 > 0 {
                    self.cart[at].quantity = quantity;
                } else {
                    self.cart.remove(at);
                }
            }
            None if change.0 > 0 && self.cart.len() < CART_CAPACITY => self.cart.push(CartItem {
                product_id: product_id.clone(),
                quantity: change,
            }),
            None => {}
        }
        self.cart_changed_at = (!self.cart.is_empty()).then_some(time);
    }

    fn signal(&mut self, time: TimeMs, signal: Signal) {
        if self.signals.len() == SIGNAL_CAPACITY {
            self.signals.remove(0);
        }
        self.signals.push((time, signal));
    }

    fn take_favourites(&mut self, body: &Body) {
        match body {
            Body::ProductViewed(p) | Body::ProductCompared(p) | Body::WishlistAdded(p) => {
                count(&mut self.top_products, &p.product_id);
                if let Some(category) = &p.category {
                    count(&mut self.top_categories, category);
                }
            }
            Body::ProductListViewed {
                category: Some(category),
            } => count(&mut self.top_categories, category),
            Body::ProductAdded { product, .. } => {
                count(&mut self.top_products, &product.product_id);
            }
            Body::OrderCompleted(order) => {
                for line in &order.lines {
                    count(&mut self.top_products, &line.product_id);
                    if let Some(category) = &line.category {
                        count(&mut self.top_categories, category);
                    }
                }
            }
            _ => {}
        }
    }

    /// Sums of the buckets that lie in the window of `days` days that ends at `as_of`.
    #[must_use]
    pub fn window(&self, as_of: TimeMs, days: u32) -> Bucket {
        let mut sum = Bucket::default();
        for bucket in &self.days {
            if bucket.day <= as_of.day() && as_of < leaves_window(bucket.day, days) {
                sum.sessions = sum.sessions.saturating_add(bucket.sessions);
                sum.page_views = sum.page_views.saturating_add(bucket.page_views);
                sum.product_views = sum.product_views.saturating_add(bucket.product_views);
            }
        }
        sum
    }

    /// How many signals of `kind` lie in the `days` days that end at `as_of`.
    pub fn signals_within(
        &self,
        as_of: TimeMs,
        days: u32,
    ) -> impl DoubleEndedIterator<Item = (TimeMs, Signal)> + '_ {
        let after = as_of.minus(i64::from(days) * DAY_MS);
        self.signals
            .iter()
            .copied()
            .filter(move |(time, _)| after < *time && *time <= as_of)
    }
}

/// The instant at which the bucket of `day` leaves a window of `days` days.
#[must_use]
pub fn leaves_window(day: Day, days: u32) -> TimeMs {
    day.start().plus((i64::from(days) + 1) * DAY_MS)
}

/// Saturating: totals come back from state bytes, where damage may have made them anything.
fn add_one(total: &mut u64) {
    *total = total.saturating_add(1);
}

/// Space saving: a new name takes the place of the least seen one and inherits its count.
fn count(list: &mut Vec<Counted>, name: &Text) {
    let at = match list.iter().position(|c| c.name == *name) {
        Some(at) => at,
        None if list.len() < TOP_CAPACITY => {
            list.push(Counted {
                name: name.clone(),
                count: 0,
            });
            list.len() - 1
        }
        None => {
            let last = list.len() - 1;
            list[last].name = name.clone();
            last
        }
    };
    list[at].count = list[at].count.saturating_add(1);
    let mut at = at;
    while at > 0 && list[at - 1].count < list[at].count {
        list.swap(at - 1, at);
        at -= 1;
    }
}
