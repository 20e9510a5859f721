//! Plans fit the limits and waste nothing.

use vae2x_core::{Result, VaeConfig, arch};

use super::decode::{DecodePlan, decode_cost};
use super::demand::{Demand, MOST_VALUES};
use super::encode::{EncodePlan, Front};
use super::stages::{WHOLE, weights};
use crate::device::Limits;
use crate::wan_vae::encoder::stage_rows;
use crate::wan_vae::rows::Rows;

const GIB: u64 = 1 << 30;

fn demand(cells: [usize; 2], clip: bool, limits: Limits) -> Demand {
    Demand {
        cells,
        clip,
        bytes: 4,
        limits,
    }
}

fn decode(demand: &Demand) -> Result<DecodePlan> {
    DecodePlan::new(&VaeConfig::with_widths(96, 12), demand)
}

#[test]
fn without_limits_nothing_is_cut() {
    for clip in [false, true] {
        let demand = demand([128, 128], clip, Limits::default());
        let plan = decode(&demand).unwrap();
        assert_eq!(
            plan,
            DecodePlan {
                bands: vec![Rows::whole(128)],
                queries: 128 * 128,
                parked: false
            }
        );
        let plan = EncodePlan::new(&VaeConfig::default(), &demand).unwrap();
        assert!(
            plan.stages.iter().all(|bands| bands.len() == 1) && !plan.parked,
            "{plan:?}"
        );
    }
}

#[test]
fn a_gigabyte_is_enough_for_a_megapixel() {
    let demand = demand(
        [128, 128],
        false,
        Limits {
            memory: GIB,
            buffer: 2 * GIB,
        },
    );
    let plan = decode(&demand).unwrap();
    assert!(plan.bands.len() > 1 && plan.queries < 128 * 128, "{plan:?}");
    let plan = EncodePlan::new(&VaeConfig::default(), &demand).unwrap();
    // The finest stage needs more bands than the coarsest.
    assert!(plan.stages[0].len() > plan.stages[3].len(), "{plan:?}");
}

#[test]
fn no_tensor_is_above_the_buffer() {
    let limits = Limits {
        memory: 64 * GIB,
        buffer: GIB / 4,
    };
    let demand = demand([96, 160], true, limits);
    let plan = decode(&demand).unwrap();
    let layers = arch::decoder(&VaeConfig::with_widths(96, 12));
    let largest = plan
        .bands
        .iter()
        .map(|&band| decode_cost(&layers[WHOLE..], &demand, band).largest)
        .max();
    assert!(
        largest.is_some_and(|values| values * 4 <= GIB as usize / 4),
        "{largest:?} in {plan:?}"
    );
    assert!(plan.bands.len() > 1 && plan.queries * 96 * 160 * 4 <= GIB as usize / 4);
    // Bands have the full width, so some buffers are too small for any plan.
    let refused = decode(&Demand {
        limits: Limits {
            buffer: GIB / 8,
            ..limits
        },
        ..demand
    })
    .unwrap_err()
    .to_string();
    assert!(refused.contains("160x96"), "{refused}");
}

#[test]
fn no_tensor_has_more_values_than_kernels_count() {
    let demand = Demand {
        bytes: 2,
        ..demand([176, 320], true, Limits::default())
    };
    let config = VaeConfig::with_widths(96, 12);
    let largest =
        |band: Rows| decode_cost(&arch::decoder(&config)[WHOLE..], &demand, band).largest as u64;
    assert!(largest(Rows::whole(176)) > MOST_VALUES);
    let plan = DecodePlan::new(&config, &demand).unwrap();
    assert!(
        plan.bands.iter().all(|&band| largest(band) <= MOST_VALUES),
        "{plan:?}"
    );
    assert!(plan.queries as u64 * 176 * 320 <= MOST_VALUES, "{plan:?}");
    let layers = arch::encoder(&config);
    let front = Front::new(&config, &layers);
    let demand = Demand {
        cells: [320, 640],
        ..demand
    };
    let plan = EncodePlan::new(&config, &demand).unwrap();
    let largest = |i: usize| front.cost(i, &demand, &plan.stages[i]).one.largest as u64;
    assert!(
        (0..plan.stages.len()).all(|i| largest(i) <= MOST_VALUES),
        "{plan:?}"
    );
}

#[test]
fn norms_in_f32_are_not_above_the_buffer_either() {
    let limits = Limits {
        memory: 64 * GIB,
        buffer: GIB / 4,
    };
    let demand = Demand {
        bytes: 2,
        ..demand([96, 160], false, limits)
    };
    let config = VaeConfig::default();
    let finest = &EncodePlan::new(&config, &demand).unwrap().stages[0];
    let norm = |band: Rows| {
        let pixels = stage_rows(0, config.num_res_blocks, true, band).input.len()
            * config.spatial()
            * demand.cells[1];
        (pixels * config.encoder_base_dim * size_of::<f32>()) as u64
    };
    let whole = Rows::whole(finest[0].height);
    assert!(norm(whole) / 2 < limits.buffer && norm(whole) > limits.buffer);
    assert!(
        finest.iter().all(|&band| norm(band) <= limits.buffer),
        "{finest:?}"
    );
}

#[test]
fn what_bands_of_an_encoder_keep_fits_with_the_rows_that_neighbours_share() {
    let config = VaeConfig::default();
    let demand = |memory: u64| {
        demand(
            [96, 96],
            true,
            Limits {
                memory,
                buffer: u64::MAX,
            },
        )
    };
    let plan = |memory: u64| {
        EncodePlan::new(&config, &demand(memory))
            .ok()
            .filter(|plan| !plan.parked)
    };
    // The least memory in which all that is kept stays on the device.
    let (mut refused, mut accepted) = (0, 64 * GIB);
    while accepted - refused > GIB / 64 {
        let middle = (refused + accepted) / 2;
        if plan(middle).is_some() {
            accepted = middle
        } else {
            refused = middle
        }
    }
    let (demand, plan) = (demand(accepted), plan(accepted).unwrap());
    assert!(plan.stages[0].len() > 2, "{plan:?}");
    let layers = arch::encoder(&config);
    let front = Front::new(&config, &layers);
    // Two frames of each convolution's input, in the first stage alone: 3 channels, then 96 in four convolutions.
    let rows: usize = plan.stages[0]
        .iter()
        .map(|&band| stage_rows(0, 2, true, band).input.len())
        .sum();
    let kept = 2 * (3 + 4 * config.encoder_base_dim) * rows * 8 * 96;
    let working = front.cost(0, &demand, &plan.stages[0]).one.working;
    assert!(
        weights(&layers) + kept + working <= demand.memory(),
        "{kept} and {working} in {plan:?}"
    );
}

#[test]
fn a_clip_keeps_its_past_on_the_host_if_it_must() {
    let plan = |memory: u64| {
        decode(&demand(
            [60, 104],
            true,
            Limits {
                memory,
                buffer: 4 * GIB,
            },
        ))
        .unwrap()
    };
    assert!(!plan(16 * GIB).parked);
    assert!(plan(2 * GIB).parked);
}

#[test]
fn plans_shrink_to_single_rows() {
    let mut plan = decode(&demand([9, 4], false, Limits::default())).unwrap();
    let mut counts = vec![plan.bands.len()];
    while let Some(smaller) = plan.smaller() {
        plan = smaller;
        counts.push(plan.bands.len());
    }
    assert_eq!(counts, [1, 2, 3, 5, 9]);
}
