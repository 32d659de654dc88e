//! Crowds that have gone: when it is worth the while to give their memory back.

/// Fewer than this are no crowd.
const CROWD: u64 = 256;

/// How many connections there were at most since memory was given back.
#[derive(Debug, Default)]
pub(super) struct Ebb {
    most: u64,
}

impl Ebb {
    /// Looks at how many connections there are; whether most of a crowd has gone since this was true.
    pub fn is_over(&mut self, open: u64) -> bool {
        self.most = self.most.max(open);
        let is_over = self.most >= CROWD && open <= self.most / 4;
        if is_over {
            self.most = open;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_once_for_each_crowd_that_has_gone() {
        let mut ebb = Ebb::default();
        let said = [0, 100, 10, 1000, 400, 250, 200, 0, 300, 0].map(|open| ebb.is_over(open));
        let over: Vec<usize> = (0..said.len()).filter(|at| said[*at]).collect();
        assert_eq!(over, [5, 9]);
    }
}
