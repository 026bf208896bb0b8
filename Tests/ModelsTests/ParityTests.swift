import Engine
import Testing

@testable import Models

/// Where the goldens lie in the repository.
let goldens = String(#filePath.dropLast("ModelsTests/ParityTests.swift".count)) + "Goldens"

@Suite struct ParityTests {
    @Test(arguments: KernelLevel.supported)
    func everyNetworkMatchesTheReference(_ level: KernelLevel) throws {
        let results = try Parity.run(directory: goldens, compute: Compute(level: level, pool: ThreadPool(threads: 2)))
        #expect(results.count == 10)
        for result in results {
            print("parity \(level) \(result.name) \(result.error)")
            #expect(result.error <= 1e-4, "\(result.name)")
        }
    }
}
