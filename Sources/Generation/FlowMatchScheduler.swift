/// Euler steps along the straight paths of flow matching (diffusers: `FlowMatchEulerDiscreteScheduler` with a fixed shift).
///
/// A latent at noise level s is x = (1 − s)·clean + s·noise; the velocity is noise − clean.
public struct FlowMatchScheduler: Sendable, Equatable {
    /// Noise levels from 1 down to 0: one more than there are steps.
    public let sigmas: [Float]

    /// `shift` > 1 spends more of the steps where noise is strong: s = shift·σ / (1 + (shift − 1)·σ).
    public init(steps: Int, shift: Float) {
        precondition(steps >= 1)
        sigmas = (0...steps).map { index in
            let sigma = 1 - Float(index) / Float(steps)
            return shift * sigma / (1 + (shift - 1) * sigma)
        }
    }

    /// The end of the same path, from noise of `strength` (0...1, before the shift) on: SDEdit's way to change a video, which
    /// keeps the more of it the less noise it gets. All levels but the first are those of the whole path, which is all that
    /// a network distilled to few steps has seen.
    public init(steps: Int, shift: Float, strength: Float) {
        let first = shift * strength / (1 + (shift - 1) * strength)
        sigmas = [first] + FlowMatchScheduler(steps: steps, shift: shift).sigmas.filter { $0 < first }
    }

    public var steps: Int { sigmas.count - 1 }

    /// What the transformer is told of `step`: 1000·s (its training's time scale).
    public func timestep(_ step: Int) -> Float { 1000 * sigmas[step] }
}
