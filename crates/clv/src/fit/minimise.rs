//! Minimises a smooth function of a few variables within bounds, from its gradient.
//!
//! BFGS with the active bounds left out of a step. The functions here are mean negative log-likelihoods in
//! logarithms of parameters: of order 1, curved by 1e-3 to 10, three or four variables.

/// A symmetric matrix.
pub(super) type Matrix<const N: usize> = [[f64; N]; N];

/// Value and gradient at a point.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<const N: usize> {
    pub(super) point: [f64; N],
    pub(super) value: f64,
    pub(super) gradient: [f64; N],
}

/// Value and gradient of a function, by point.
pub(super) type Objective<'o, const N: usize> = dyn Fn(&[f64; N]) -> (f64, [f64; N]) + 'o;

/// A function with its bounds.
pub(super) struct Problem<'f, const N: usize> {
    pub(super) function: &'f Objective<'f, N>,
    pub(super) bounds: [(f64, f64); N],
}

/// Iterations after which a search that has not ended will not.
const ITERATIONS: u32 = 200;
/// No variable, a logarithm, moves by more in one step.
const LONGEST_STEP: f64 = 1.5;
/// A search has ended when its next step would change no variable by more.
const STEP_ENDS: f64 = 1e-9;
/// It has ended too when so many steps in a row have not lowered the value by more than rounding: what is left is
/// flat.
const STEPS_WITHOUT_GAIN: u32 = 4;
/// What rounding makes of a value, relatively: seldom more, and at most over millions of cells.
const NOISE: f64 = 4e-15;
const MOST_NOISE: f64 = 1e-12;
/// Steps below this are believed even where the value cannot tell whether they lower it.
const SMALL_STEP: f64 = 1e-4;

impl<const N: usize> Problem<'_, N> {
    pub(super) fn at(&self, point: [f64; N]) -> At<N> {
        let (value, gradient) = (self.function)(&point);
        At {
            point,
            value,
            gradient,
        }
    }

    fn clamp(&self, point: [f64; N]) -> [f64; N] {
        let mut inside = point;
        for (v, (low, high)) in inside.iter_mut().zip(self.bounds) {
            *v = v.clamp(low, high);
        }
        inside
    }

    /// Whether a variable lies at a bound and would go beyond.
    pub(super) fn is_held(&self, at: &At<N>, i: usize) -> bool {
        let (low, high) = self.bounds[i];
        (at.point[i] <= low && at.gradient[i] >= 0.0)
            || (at.point[i] >= high && at.gradient[i] <= 0.0)
    }

    fn step(&self, at: &At<N>, inverse: &Matrix<N>) -> [f64; N] {
        let held: [bool; N] = std::array::from_fn(|i| self.is_held(at, i));
        let mut step = [0.0; N];
        for i in (0..N).filter(|&i| !held[i]) {
            step[i] = -(0..N)
                .filter(|&j| !held[j])
                .map(|j| inverse[i][j] * at.gradient[j])
                .sum::<f64>();
        }
        step
    }

    /// The minimum that is found from `start`, and whether the search ended by itself. `inverse` is a guess
    /// at the inverse of the second derivatives.
    pub(super) fn minimise(&self, start: [f64; N], inverse: Option<Matrix<N>>) -> (At<N>, bool) {
        let first = inverse.unwrap_or_else(identity);
        let mut inverse = first;
        let mut now = self.at(self.clamp(start));
        let mut fresh = true;
        let mut without_gain = 0;
        for _ in 0..ITERATIONS {
            let mut step = self.step(&now, &inverse);
            if dot(&step, &now.gradient) > 0.0 {
                inverse = identity();
                fresh = true;
                step = self.step(&now, &inverse);
            }
            let longest = step.iter().fold(0.0_f64, |m, s| m.max(s.abs()));
            if longest <= STEP_ENDS {
                return (now, true);
            }
            let limited = (LONGEST_STEP / longest).min(1.0);
            match self.search(&now, &step, limited) {
                Some(next) => {
                    update(&mut inverse, &now, &next);
                    fresh = false;
                    without_gain = if next.value < now.value - NOISE * now.value.abs() {
                        0
                    } else {
                        without_gain + 1
                    };
                    now = next;
                    if without_gain == STEPS_WITHOUT_GAIN {
                        return (now, true);
                    }
                }
                // Nothing lower in this direction: a minimum as far as rounding lets see, if the direction was
                // not a stale one.
                None if fresh => return (now, longest < 1e-5),
                None => {
                    if longest < 1e-7 {
                        return (now, true);
                    }
                    inverse = identity();
                    fresh = true;
                }
            }
        }
        (now, false)
    }

    /// A point along `step` that is lower by a fair part of what the slope promises.
    fn search(&self, now: &At<N>, step: &[f64; N], longest: f64) -> Option<At<N>> {
        let mut length = longest;
        let is_small = step.iter().all(|s| s.abs() < SMALL_STEP);
        let noise = if is_small { MOST_NOISE } else { NOISE } * now.value.abs();
        for _ in 0..24 {
            let point = std::array::from_fn(|i| now.point[i] + length * step[i]);
            let next = self.at(self.clamp(point));
            let moved: [f64; N] = std::array::from_fn(|i| next.point[i] - now.point[i]);
            let promised = 1e-4 * dot(&moved, &now.gradient);
            if next.value.is_finite() && next.value <= now.value + promised + noise {
                return (moved != [0.0; N]).then_some(next);
            }
            length *= 0.4;
        }
        None
    }

    /// Second derivatives at a point, from differences of the gradient: good to four digits, which is what errors
    /// and a first guess need.
    pub(super) fn second_derivatives(&self, at: &At<N>) -> Matrix<N> {
        const APART: f64 = 1e-4;
        let mut matrix = [[0.0; N]; N];
        for i in 0..N {
            let mut beside = at.point;
            beside[i] += APART;
            let beside = self.at(beside).gradient;
            for j in 0..N {
                let half = (beside[j] - at.gradient[j]) / (2.0 * APART);
                matrix[i][j] += half;
                matrix[j][i] += half;
            }
        }
        matrix
    }
}

fn identity<const N: usize>() -> Matrix<N> {
    std::array::from_fn(|i| std::array::from_fn(|j| if i == j { 1.0 } else { 0.0 }))
}

fn dot<const N: usize>(a: &[f64; N], b: &[f64; N]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Broyden, Fletcher, Goldfarb and Shanno's update of the inverse second derivatives.
fn update<const N: usize>(inverse: &mut Matrix<N>, before: &At<N>, after: &At<N>) {
    let moved: [f64; N] = std::array::from_fn(|i| after.point[i] - before.point[i]);
    let mut change: [f64; N] = std::array::from_fn(|i| after.gradient[i] - before.gradient[i]);
    // A variable that stays at its bound is no variable: what is known of it would mislead the others.
    for i in (0..N).filter(|&i| moved[i] == 0.0) {
        change[i] = 0.0;
        inverse[i] = [0.0; N];
        for row in inverse.iter_mut() {
            row[i] = 0.0;
        }
        inverse[i][i] = 1.0;
    }
    let curvature = dot(&moved, &change);
    if curvature <= 1e-14 * dot(&change, &change) {
        return;
    }
    let turned: [f64; N] = std::array::from_fn(|i| dot(&inverse[i], &change));
    let factor = (1.0 + dot(&change, &turned) / curvature) / curvature;
    for i in 0..N {
        for j in 0..N {
            inverse[i][j] += factor * moved[i] * moved[j]
                - (turned[i] * moved[j] + moved[i] * turned[j]) / curvature;
        }
    }
}

/// The inverse of a symmetric positive definite matrix, over the variables that are `free`; the others' rows
/// and columns become 0. `None` where it is not positive definite.
pub(super) fn inverse_of<const N: usize>(
    matrix: &Matrix<N>,
    free: &[bool; N],
) -> Option<Matrix<N>> {
    let mut work = *matrix;
    let mut inverse = identity();
    for i in (0..N).filter(|&i| !free[i]) {
        for j in 0..N {
            work[i][j] = 0.0;
            work[j][i] = 0.0;
            inverse[i][j] = 0.0;
        }
        work[i][i] = 1.0;
    }
    // Pivots of a positive definite matrix are positive without exchanging rows.
    for i in 0..N {
        let pivot = work[i][i];
        if pivot.is_nan() || pivot <= 1e-14 * matrix[i][i].abs() {
            return None;
        }
        for j in 0..N {
            work[i][j] /= pivot;
            inverse[i][j] /= pivot;
        }
        for k in (0..N).filter(|&k| k != i) {
            let factor = work[k][i];
            for j in 0..N {
                work[k][j] -= factor * work[i][j];
                inverse[k][j] -= factor * inverse[i][j];
            }
        }
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curved_valley_is_followed_to_its_end() {
        let rosenbrock = |p: &[f64; 2]| {
            let (u, v) = (1.0 - p[0], p[1] - p[0] * p[0]);
            (
                u * u + 100.0 * v * v,
                [-2.0 * u - 400.0 * p[0] * v, 200.0 * v],
            )
        };
        let problem = Problem {
            function: &rosenbrock,
            bounds: [(-9.0, 9.0); 2],
        };
        let (at, ended) = problem.minimise([-1.2, 1.0], None);
        assert!(ended);
        assert!((at.point[0] - 1.0).abs() < 1e-8 && (at.point[1] - 1.0).abs() < 1e-8);
    }

    #[test]
    fn a_minimum_beyond_a_bound_is_found_on_it() {
        let bowl = |p: &[f64; 2]| {
            let (u, v) = (p[0] - 3.0, p[1] + p[0]);
            (u * u + v * v, [2.0 * u + 2.0 * v, 2.0 * v])
        };
        let problem = Problem {
            function: &bowl,
            bounds: [(-9.0, 1.0), (-9.0, 9.0)],
        };
        let (at, ended) = problem.minimise([0.0, 0.0], None);
        assert!(ended && problem.is_held(&at, 0));
        assert!((at.point[0] - 1.0).abs() < 1e-12 && (at.point[1] + 1.0).abs() < 1e-8);
    }

    #[test]
    fn an_inverse_leaves_out_what_is_held() {
        let matrix = [[4.0, 1.0, 9.0], [1.0, 3.0, 9.0], [9.0, 9.0, 1.0]];
        let inverse =
            inverse_of(&matrix, &[true, true, false]).expect("definite without the third");
        assert!((inverse[0][0] - 3.0 / 11.0).abs() < 1e-15);
        assert!((inverse[0][1] + 1.0 / 11.0).abs() < 1e-15);
        assert_eq!(inverse[2], [0.0; 3]);
        assert_eq!(inverse_of(&matrix, &[true; 3]), None);
    }
}
