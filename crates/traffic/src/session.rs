//! One visit: a walk through the shop's funnel, which can end at every step.

use domain::event::{Body, Campaign, Product, Text};
use domain::money::{Minor, Units};
use smol_str::SmolStr;

use crate::catalogue::{CATEGORIES, Catalogue};
use crate::person::Person;
use crate::random::Random;

/// Different products that a cart holds at most; so many lines an order has at most.
pub(crate) const CART_MAX: usize = 6;
/// Events of a visit at most.
const STEPS_MAX: u8 = 80;
/// Mean time that a visitor spends on a step, and the least.
const DWELL_MEAN_MS: i64 = 28_000;
const DWELL_MIN_MS: i64 = 1_500;

const PAGES: [(&str, u32); 5] = [
    ("/", 50),
    ("/sale", 15),
    ("/new", 15),
    ("/gifts", 10),
    ("/magazine", 10),
];

/// Channels: name, weight, and the campaign's source, medium and name where there is one.
const CHANNELS: [(&str, u32, Option<[&str; 3]>); 8] = [
    ("direct", 30, None),
    ("organic", 27, None),
    ("paid_search", 13, Some(["google", "cpc", "brand"])),
    ("paid_search", 4, Some(["bing", "cpc", "generic"])),
    ("email", 12, Some(["newsletter", "email", "weekly"])),
    ("social", 7, Some(["instagram", "paid_social", "spring"])),
    ("affiliate", 4, Some(["pricecheck", "affiliate", "feed"])),
    ("referral", 3, None),
];
const EMAIL: usize = 4;

/// What a visitor does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    OpenMessage,
    ClickMessage,
    ViewPage,
    LeaveContact,
    Search,
    ViewList,
    ViewProduct,
    Compare,
    Wish,
    Share,
    Add,
    Remove,
    ViewCart,
    CheckOut,
    Order,
}

/// One product in the cart.
#[derive(Clone, Copy, Default)]
pub(crate) struct CartLine {
    /// The product's rank in the catalogue.
    pub(crate) product: u32,
    /// Whole units, at least 1.
    pub(crate) quantity: i64,
}

/// A visit that is under way.
pub(crate) struct Session {
    /// Slot of the person.
    pub(crate) person: usize,
    /// What is done next.
    pub(crate) step: Step,
    /// Whether an order was placed.
    pub(crate) ordered: bool,
    pub(crate) id: Text,
    pub(crate) customer_id: Option<Text>,
    pub(crate) anonymous_id: Text,
    pub(crate) country: Text,
    channel: usize,
    product: u32,
    /// The line that was last added or taken out.
    changed: CartLine,
    cart: [CartLine; CART_MAX],
    lines: usize,
    steps: u8,
}

/// Who visits: the ids that the visit's events carry.
pub(crate) struct Visitor {
    pub(crate) slot: usize,
    pub(crate) session_id: Text,
    pub(crate) customer_id: Option<Text>,
    pub(crate) anonymous_id: Text,
    pub(crate) country: Text,
}

impl Session {
    /// A visit about to begin.
    pub(crate) fn begin(who: Visitor, random: &mut Random) -> Session {
        let channel = random.weighted(&CHANNELS.map(|channel| channel.1));
        // Only to those who are known can a message be attributed.
        let by_message = channel == EMAIL && who.customer_id.is_some();
        Session {
            person: who.slot,
            step: if by_message {
                Step::OpenMessage
            } else {
                Step::ViewPage
            },
            ordered: false,
            id: who.session_id,
            customer_id: who.customer_id,
            anonymous_id: who.anonymous_id,
            country: who.country,
            channel,
            product: 0,
            changed: CartLine::default(),
            cart: [CartLine::default(); CART_MAX],
            lines: 0,
            steps: 0,
        }
    }

    /// What is in the cart.
    pub(crate) fn cart(&self) -> &[CartLine] {
        &self.cart[..self.lines]
    }

    /// The marketing channel of the visit.
    pub(crate) fn channel(&self) -> Text {
        SmolStr::new_static(CHANNELS[self.channel].0)
    }

    /// The campaign, on the events on which it shows: the message's and the first page's.
    pub(crate) fn campaign(&self) -> Option<Box<Campaign>> {
        let shows = self.step == Step::ClickMessage || self.step == Step::ViewPage;
        let [source, medium, name] = CHANNELS[self.channel].2.filter(|_| shows)?;
        Some(Box::new(Campaign {
            source: Some(SmolStr::new_static(source)),
            medium: Some(SmolStr::new_static(medium)),
            name: Some(SmolStr::new_static(name)),
        }))
    }

    /// Does the present step: what it changes in the visit, and the event's body. `None` for an
    /// order, whose body the shop makes.
    pub(crate) fn act(
        &mut self,
        who: &Person,
        shop: &Catalogue,
        random: &mut Random,
    ) -> Option<Body> {
        self.steps += 1;
        Some(match self.step {
            Step::OpenMessage => Body::MessageOpened,
            Step::ClickMessage => Body::MessageClicked,
            Step::ViewPage => {
                let page = random.weighted(&PAGES.map(|page| page.1));
                Body::PageViewed {
                    url: Some(SmolStr::new_static(PAGES[page].0)),
                }
            }
            Step::LeaveContact => Body::LeadCaptured,
            Step::Search => Body::ProductsSearched {
                query: self.topic(who, random),
            },
            Step::ViewList => Body::ProductListViewed {
                category: Some(self.topic(who, random)),
            },
            Step::ViewProduct => {
                self.product = if random.chance(600) {
                    shop.draw_in(who.favourite, random)
                } else {
                    shop.draw(random)
                };
                Body::ProductViewed(shop.product(self.product))
            }
            Step::Compare => Body::ProductCompared(shop.product(self.product)),
            Step::Wish => Body::WishlistAdded(shop.product(self.product)),
            Step::Share => Body::ProductShared {
                product_id: Some(shop.id(self.product)),
            },
            Step::Add => {
                self.add(random);
                let (product, quantity) = self.changed(shop);
                Body::ProductAdded { product, quantity }
            }
            Step::Remove => {
                self.remove(random);
                let (product, quantity) = self.changed(shop);
                Body::ProductRemoved { product, quantity }
            }
            Step::ViewCart => Body::CartViewed,
            Step::CheckOut => Body::CheckoutStarted,
            Step::Order => return None,
        })
    }

    /// Decides what comes after the present step, and after how many milliseconds; `None` when
    /// the visit is over.
    pub(crate) fn advance(&mut self, who: &Person, random: &mut Random) -> Option<i64> {
        self.step = self.next_step(who, random)?;
        Some(DWELL_MIN_MS + random.wait_ms(DWELL_MEAN_MS))
    }

    fn next_step(&self, who: &Person, random: &mut Random) -> Option<Step> {
        use Step::{
            Add, CheckOut, ClickMessage, Compare, LeaveContact, OpenMessage, Order, Remove, Search,
            Share, ViewCart, ViewList, ViewPage, ViewProduct, Wish,
        };
        if self.steps >= STEPS_MAX {
            return None;
        }
        let full = self.lines == CART_MAX;
        // Each arm: the possible next steps and their weights; what is left of 1000 leaves.
        let choices: &[(Step, u32)] = match self.step {
            OpenMessage => &[(ClickMessage, 400)],
            ClickMessage => &[(ViewPage, 950)],
            ViewPage if who.visitor => &[(ViewList, 250), (Search, 90), (ViewProduct, 310)],
            ViewPage if self.customer_id.is_none() => &[
                (LeaveContact, 120),
                (ViewList, 320),
                (Search, 130),
                (ViewProduct, 250),
            ],
            ViewPage => &[(ViewList, 380), (Search, 160), (ViewProduct, 310)],
            Search | ViewList => &[(ViewProduct, 760), (ViewList, 120)],
            ViewProduct => &[
                // The weight of adding is the person's own, and is drawn first, below.
                (ViewProduct, 430),
                (ViewList, 160),
                (Compare, 60),
                (Wish, 40),
                (Search, 60),
                (Share, 4),
            ],
            LeaveContact | Compare | Wish | Share => &[(ViewProduct, 620), (ViewList, 180)],
            Add if full => &[(ViewCart, 850)],
            Add => &[(ViewCart, 430), (ViewProduct, 330), (ViewList, 110)],
            Remove if self.lines == 0 => &[(ViewProduct, 400), (ViewList, 200)],
            Remove => &[(ViewCart, 800)],
            ViewCart => &[(CheckOut, 560), (ViewProduct, 130), (Remove, 90)],
            CheckOut if who.visitor => &[(ViewPage, 100)],
            CheckOut => &[(Order, 720), (ViewCart, 60)],
            Order => &[],
        };
        if self.step == ViewProduct && !full && random.chance(30 + who.intent * 7 / 10) {
            return Some(Add);
        }
        let mut left = random.below(1000) as u32;
        for &(step, weight) in choices {
            if left < weight {
                return Some(step);
            }
            left -= weight;
        }
        None
    }

    fn topic(&self, who: &Person, random: &mut Random) -> Text {
        let category = if random.chance(600) {
            usize::from(who.favourite)
        } else {
            random.below(CATEGORIES.len() as u64) as usize
        };
        SmolStr::new_static(CATEGORIES[category])
    }

    /// Puts the product looked at into the cart. Only called while the cart has room.
    fn add(&mut self, random: &mut Random) {
        let quantity = [1, 2, 3, 5][random.weighted(&[85, 10, 4, 1])];
        let product = self.product;
        self.changed = CartLine { product, quantity };
        match self.cart[..self.lines]
            .iter_mut()
            .find(|line| line.product == product)
        {
            Some(line) => line.quantity += quantity,
            None => {
                self.cart[self.lines] = self.changed;
                self.lines += 1;
            }
        }
    }

    /// Takes one line out of the cart, which is not empty.
    fn remove(&mut self, random: &mut Random) {
        let at = random.below(self.lines as u64) as usize;
        self.changed = self.cart[at];
        self.cart.copy_within(at + 1..self.lines, at);
        self.lines -= 1;
    }

    fn changed(&self, shop: &Catalogue) -> (Product, Units) {
        let CartLine { product, quantity } = self.changed;
        (shop.product(product), Units(quantity * Units::ONE.0))
    }
}

/// What so many of a product cost.
pub(crate) fn amount(shop: &Catalogue, line: CartLine) -> Minor {
    Minor(shop.price(line.product).0 * line.quantity)
}
