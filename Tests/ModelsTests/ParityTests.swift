import Engine
import Testing

@testable import Models

extension OnModels {
    @Suite struct ParityTests {
        @Test(arguments: KernelLevel.supported)
        func everyNetworkMatchesTheReference(_ level: KernelLevel) throws {
            let compute = Compute(level: level, pool: ThreadPool(threads: 2))
            let results = try Parity.run(directory: goldens, compute: compute)
            #expect(results.count == 12)
            for result in results { #expect(result.error <= 1e-5, "\(result.name)") }
        }

        @Test func aFolderWithoutGoldensIsAnError() {
            let compute = Compute(level: .reference, pool: ThreadPool(threads: 1))
            #expect(throws: ModelError.self) { try Parity.run(directory: "/nonexistent", compute: compute) }
        }

        @Test func errorsAreRelativeAndNeverHidden() {
            #expect(Parity.error([1, 2], [1, 4]) == 0.5)
            #expect(Parity.error([1], [1, 4]) == .infinity)
            #expect(Parity.error([.nan, 4], [1, 4]) == .infinity)
        }

        @Test(arguments: ["tiny", "odd"]) func tokensOfThePrompt(_ name: String) throws {
            let golden = try Golden("\(goldens)/\(name)")
            let model = try Model(folder: "\(goldens)/\(name)/model")
            let prompt = try #require(golden.metadata["prompt"])
            #expect(try model.tokenizer.encode(prompt) == golden.tokens())
        }
    }
}
