import Testing

@testable import Generation

@Suite struct FlowMatchSchedulerTests {
    /// From the closed form in double precision: s = 3σ / (1 + 2σ) at σ = 1, ¾, ½, ¼, 0.
    @Test func shiftsTheLevels() {
        let scheduler = FlowMatchScheduler(steps: 4, shift: 3)
        let expected: [Float] = [1, 0.9, 0.75, 0.5, 0]
        #expect(scheduler.steps == 4)
        for (found, wanted) in zip(scheduler.sigmas, expected) { #expect(abs(found - wanted) < 1e-6) }
        #expect(abs(scheduler.timestep(1) - 900) < 1e-3)
    }

    @Test(arguments: [1, 2, 7, 50]) func fallsFromOneToZero(steps: Int) {
        for shift: Float in [1, 3, 5] {
            let sigmas = FlowMatchScheduler(steps: steps, shift: shift).sigmas
            #expect(sigmas.count == steps + 1)
            #expect(sigmas.first == 1 && sigmas.last == 0)
            #expect(zip(sigmas, sigmas.dropFirst()).allSatisfy { $0 > $1 })
        }
    }
}
