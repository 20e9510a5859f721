//! Names of the interfaces through which devices beside the CPU are reached.

use std::fmt;

/// An interface through which GPUs are reached. Each is a cargo feature of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// NVIDIA's.
    Cuda,
    /// Apple's.
    Metal,
    /// Any vendor's, on Linux, Windows and Android.
    Vulkan,
    /// Whichever of Vulkan, Metal, DirectX 12 and OpenGL wgpu finds.
    WebGpu,
    /// PyTorch's library: its first CUDA device, or the CPU.
    LibTorch,
}

impl Api {
    /// Every interface, the best for a device that several reach first.
    pub const ALL: [Self; 5] = [
        Self::Cuda,
        Self::Metal,
        Self::Vulkan,
        Self::WebGpu,
        Self::LibTorch,
    ];

    /// The name on the command line, and the cargo feature.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Metal => "metal",
            Self::Vulkan => "vulkan",
            Self::WebGpu => "webgpu",
            Self::LibTorch => "libtorch",
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
