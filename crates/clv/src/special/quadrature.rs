//! Quadrature of the one integral that Pareto/NBD is made of.

/// Nodes and weights of Gauss and Legendre's rule with 16 nodes on (0, 1).
pub(crate) const GAUSS: [(f64, f64); 16] = [
    (0.005_299_532_504_175_033, 0.013_576_229_705_877_048),
    (0.027_712_488_463_383_71, 0.031_126_761_969_323_947),
    (0.067_184_398_806_084_12, 0.047_579_255_841_246_39),
    (0.122_297_795_822_498_49, 0.062_314_485_627_766_94),
    (0.191_061_877_798_678_11, 0.074_797_994_408_288_37),
    (0.270_991_611_171_386_3, 0.084_578_259_697_501_27),
    (0.359_198_224_610_370_54, 0.091_301_707_522_461_79),
    (0.452_493_745_081_181_3, 0.094_725_305_227_534_25),
    (0.547_506_254_918_818_8, 0.094_725_305_227_534_25),
    (0.640_801_775_389_629_5, 0.091_301_707_522_461_79),
    (0.729_008_388_828_613_7, 0.084_578_259_697_501_27),
    (0.808_938_122_201_321_9, 0.074_797_994_408_288_37),
    (0.877_702_204_177_501_6, 0.062_314_485_627_766_94),
    (0.932_815_601_193_915_8, 0.047_579_255_841_246_39),
    (0.972_287_511_536_616_3, 0.031_126_761_969_323_947),
    (0.994_700_467_495_825, 0.013_576_229_705_877_048),
];

/// A product of powers and a discount, to be integrated from 0 on:
/// `e^(−discount·w) (1 + w/a)^(−n) (1 + w/b)^(−m)`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Powers {
    pub(crate) n: f64,
    pub(crate) a: f64,
    pub(crate) m: f64,
    pub(crate) b: f64,
    pub(crate) discount: f64,
}

/// Of one panel, in the exponent of the integrand: what 16 nodes integrate to the last digit.
const EXPONENT_A_PANEL: f64 = 12.0;
/// Of one panel, in `ln(1 + w)`: the integrand is analytic up to π beside the axis.
const LONGEST_PANEL: f64 = 2.0;
/// What the variable grows by within the longest panel.
const E_SQUARED: f64 = 7.389_056_098_930_65;
/// More than any parameters in range take; so that none out of it make an endless loop.
const MOST_PANELS: u32 = 20_000;

impl Powers {
    /// The integral from 0 to `end`.
    pub(crate) fn integral(&self, end: f64) -> f64 {
        self.moments(end, |_, _, _| [1.0])[0]
    }

    /// Integrals from 0 to `end` of the product times each factor that `factors` makes of w,
    /// `ln(1 + w/a)` and `ln(1 + w/b)`; the first must be 1.
    ///
    /// In the variable u = ln(1 + w/min(a, b)), panel by panel, until what a panel adds is nothing. Every
    /// term of the first is positive: nothing cancels.
    pub(crate) fn moments<const K: usize>(
        &self,
        end: f64,
        factors: impl Fn(f64, f64, f64) -> [f64; K],
    ) -> [f64; K] {
        let unit = self.a.min(self.b);
        let last = libm::log1p(end / unit);
        let mut sums = [0.0; K];
        let mut from = 0.0;
        for _ in 0..MOST_PANELS {
            if from >= last {
                break;
            }
            let (panel, to) = self.panel(unit, from, last, &factors);
            for (sum, part) in sums.iter_mut().zip(panel) {
                *sum += part;
            }
            if panel[0] <= sums[0] * 1e-18 {
                break;
            }
            from = to;
        }
        sums
    }

    fn panel<const K: usize>(
        &self,
        unit: f64,
        from: f64,
        last: f64,
        factors: &impl Fn(f64, f64, f64) -> [f64; K],
    ) -> ([f64; K], f64) {
        let w = unit * libm::expm1(from);
        let rise = unit + w;
        // At the end of the panel, where it may be e² times what it is here, or all of n.
        let steepest = |power: f64, scale: f64| power * (E_SQUARED * rise / (scale + w)).min(1.0);
        let rate =
            steepest(self.n, self.a) + steepest(self.m, self.b) + self.discount * rise * E_SQUARED;
        let length = (EXPONENT_A_PANEL / rate)
            .min(LONGEST_PANEL)
            .min(last - from);
        let mut sums = [0.0; K];
        for (node, weight) in GAUSS {
            let u = from + length * node;
            let w = unit * libm::expm1(u);
            let (by_a, by_b) = (libm::log1p(w / self.a), libm::log1p(w / self.b));
            let exponent = u - self.n * by_a - self.m * by_b - self.discount * w;
            let value = weight * length * unit * libm::exp(exponent);
            for (sum, factor) in sums.iter_mut().zip(factors(w, by_a, by_b)) {
                *sum += value * factor;
            }
        }
        (sums, from + length)
    }
}
