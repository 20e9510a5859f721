//! A loop of nothing but fused multiply-adds: what the machine could do at best. For benchmarks.

use super::simd::Simd;

/// Chains of dependent operations: enough to hide their latency, few enough for the registers.
const CHAINS: usize = 12;

/// So many rounds.
pub struct Peak {
    /// Rounds of the loop.
    pub rounds: usize,
    /// Floating-point operations done.
    pub operations: usize,
    /// Something that depends on all of them.
    pub result: f32,
}

#[inline(always)]
pub(super) fn peak<S: Simd>(s: S, job: &mut Peak) {
    let (a, b) = (
        s.splat(std::hint::black_box(0.999_9)),
        s.splat(std::hint::black_box(1e-4)),
    );
    let mut chains = [s.zero(); CHAINS];
    for _ in 0..job.rounds {
        for chain in &mut chains {
            *chain = s.fma(*chain, a, b);
        }
    }
    let mut total = s.zero();
    for chain in chains {
        total = s.add(total, chain);
    }
    job.operations = 2 * job.rounds * CHAINS * S::W;
    job.result = s.sum(total);
}
