//! Smooth functions of one variable as Chebyshev series.

/// How many functions are held together.
pub(super) const TERMS: usize = 4;

/// Functions on (0, end), with as many coefficients as ten digits take.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Series {
    end: f64,
    /// By degree, of each function.
    coefficients: Vec<[f64; TERMS]>,
}

/// Numbers of coefficients that are tried.
const SIZES: [usize; 5] = [12, 20, 32, 56, 96];
/// Coefficients below this, against the largest, are nothing.
const NOTHING: f64 = 1e-12;

impl Series {
    /// The series of `functions`, which are taken at the nodes.
    pub(super) fn fit(end: f64, functions: impl Fn(f64) -> [f64; TERMS]) -> Series {
        let mut coefficients = Vec::new();
        for size in SIZES {
            coefficients = interpolate(size, |u| functions(0.5 * end * (u + 1.0)));
            if has_ended(&coefficients) {
                break;
            }
        }
        while coefficients.len() > 2
            && is_nothing(&coefficients[coefficients.len() - 1], &coefficients)
        {
            coefficients.pop();
        }
        Series { end, coefficients }
    }

    /// The functions at `y`, by Clenshaw's recurrence.
    pub(super) fn at(&self, y: f64) -> [f64; TERMS] {
        let twice = 4.0 * y / self.end - 2.0;
        let mut one = [0.0; TERMS];
        let mut two = [0.0; TERMS];
        for c in self.coefficients[1..].iter().rev() {
            let mut next = [0.0; TERMS];
            for i in 0..TERMS {
                next[i] = twice * one[i] - two[i] + c[i];
            }
            two = one;
            one = next;
        }
        std::array::from_fn(|i| 0.5 * twice * one[i] - two[i] + self.coefficients[0][i])
    }
}

fn interpolate(size: usize, functions: impl Fn(f64) -> [f64; TERMS]) -> Vec<[f64; TERMS]> {
    let angle = |k: usize| std::f64::consts::PI * (k as f64 + 0.5) / size as f64;
    let values: Vec<[f64; TERMS]> = (0..size).map(|k| functions(libm::cos(angle(k)))).collect();
    (0..size)
        .map(|degree| {
            let mut sum = [0.0; TERMS];
            for (k, value) in values.iter().enumerate() {
                let weight = libm::cos(degree as f64 * angle(k));
                for i in 0..TERMS {
                    sum[i] += weight * value[i];
                }
            }
            let norm = if degree == 0 { 1.0 } else { 2.0 } / size as f64;
            sum.map(|s| s * norm)
        })
        .collect()
}

/// The largest coefficient of each function.
fn largest(coefficients: &[[f64; TERMS]]) -> [f64; TERMS] {
    let mut largest = [0.0_f64; TERMS];
    for c in coefficients {
        for i in 0..TERMS {
            largest[i] = largest[i].max(c[i].abs());
        }
    }
    largest
}

fn is_nothing(c: &[f64; TERMS], all: &[[f64; TERMS]]) -> bool {
    let largest = largest(all);
    (0..TERMS).all(|i| c[i].abs() <= largest[i] * NOTHING)
}

fn has_ended(coefficients: &[[f64; TERMS]]) -> bool {
    coefficients[coefficients.len() - 3..]
        .iter()
        .all(|c| is_nothing(c, coefficients))
}
