//! Reading one partition in order, a page at a time, with a look at what comes next.

use std::collections::VecDeque;

use engine::port::TopicPartition;

use crate::history::{Bounds, Entry, History};

/// Records read at a time.
const PAGE: usize = 512;

/// A place in a partition.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) at: TopicPartition,
    pub(crate) bounds: Bounds,
    next: u64,
    page: VecDeque<Entry>,
    ended: bool,
}

impl Cursor {
    /// At the beginning of what there is of `at`.
    pub(crate) fn open<H: History>(
        history: &mut H,
        at: TopicPartition,
    ) -> Result<Cursor, H::Error> {
        let bounds = history.bounds(&at)?;
        Ok(Cursor {
            at,
            bounds,
            next: bounds.begin,
            page: VecDeque::new(),
            ended: bounds.begin >= bounds.end,
        })
    }

    /// The next record, which stays the next one.
    pub(crate) fn peek<H: History>(&mut self, history: &mut H) -> Result<Option<&Entry>, H::Error> {
        if self.page.is_empty() && !self.ended {
            self.page = history.read(&self.at, self.next, PAGE)?.into();
            match self.page.back() {
                Some(last) => self.next = last.offset + 1,
                None => self.ended = true,
            }
        }
        Ok(self.page.front())
    }

    /// Takes the next record.
    pub(crate) fn pop<H: History>(&mut self, history: &mut H) -> Result<Option<Entry>, H::Error> {
        self.peek(history)?;
        Ok(self.page.pop_front())
    }

    /// The next record, if it stands before `until`.
    pub(crate) fn pop_before<H: History>(
        &mut self,
        history: &mut H,
        until: u64,
    ) -> Result<Option<Entry>, H::Error> {
        match self.peek(history)? {
            Some(entry) if entry.offset < until => self.pop(history),
            _ => Ok(None),
        }
    }
}
