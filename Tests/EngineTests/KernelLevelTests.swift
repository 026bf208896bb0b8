import Glibc
import Testing

@testable import Engine

/// The level that whoever runs the tests on an emulated CPU knows it must choose.
private let expectedLevel = getenv("FILOSCOPE_EXPECTED_KERNELS").map { String(cString: $0) }

@Suite struct KernelLevelTests {
    @Test func listsWhatThisCPUHas() {
        let supported = KernelLevel.supported
        #expect(supported.first == .reference && supported.first?.name == "reference")
        #expect(supported.contains(.best))
        #expect(Set(supported.map(\.name)).count == supported.count)
    }

    @Test(.enabled(if: expectedLevel != nil, "FILOSCOPE_EXPECTED_KERNELS says nothing of this CPU"))
    func choosesWhatThisCPUIsKnownToHave() {
        #expect(KernelLevel.best.name == expectedLevel)
    }

    @Test func forcesALevel() throws {
        for level in KernelLevel.supported {
            #expect(try KernelLevel.selected(level.name) == level)
            // The table that answers is that of the level, not a stand-in.
            let compute = Compute(level: try KernelLevel(named: level.name), pool: ThreadPool(threads: 1))
            #expect(compute.kernels.level == level.value)
        }
        #expect(try KernelLevel.selected(nil) == .best)
        #expect(try KernelLevel.selected("") == .best)
    }

    @Test func refusesWhatIsNotThere() {
        let names = KernelLevel.supported.map(\.name)
        let unknown = KernelLevelError.unknown("sse9", supported: names)
        #expect(
            unknown.description
                == "FILOSCOPE_KERNELS: there is no kernel level 'sse9'; this CPU has \(names.joined(separator: ", "))")
        #expect(throws: unknown) { try KernelLevel.selected("sse9") }
        #if arch(x86_64)
            let foreign = "neon"
        #else
            let foreign = "avx2"
        #endif
        #expect(throws: KernelLevelError.unsupported(foreign, supported: names)) { try KernelLevel.selected(foreign) }
    }

    @Test func normalsDependOnSeedStreamAndPositionAlone() {
        var all = [Float](repeating: 0, count: 4001)
        Random.normal(seed: 42, stream: 0, count: 4001, into: &all)
        var tail = [Float](repeating: 0, count: 1000)
        Random.normal(seed: 42, stream: 0, first: 3001, count: 1000, into: &tail)
        #expect(bits(tail) == bits(Array(all[3001...])))
        var other = [Float](repeating: 0, count: 4001)
        Random.normal(seed: 42, stream: 1, count: 4001, into: &other)
        #expect(other != all)
        let mean = all.reduce(0, +) / 4001
        let variance = all.reduce(0) { $0 + $1 * $1 } / 4001
        #expect(abs(mean) < 0.06 && abs(variance - 1) < 0.08)
    }
}
