import ArgumentParser
import Engine
import Models

struct Levels: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The kernel levels this CPU runs, one a line.")

    func run() { for level in KernelLevel.supported { print(level.name) } }
}

struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Compare a model's files with the hashes on its card, and look for values no kernel promises.")
    @Argument(help: "The model's folder.") var folder: String

    func run() throws {
        do throws(ModelError) {
            try Model(folder: folder).verify()
            print("\(folder): verified")
        } catch {
            complain("\(folder): \(error)")
            throw ExitCode.failure
        }
    }
}

struct ParityCheck: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "parity",
        abstract: "Run the networks on goldens of the reference implementations: error = max|a-b| / max|b|.")
    @Argument(help: "A golden's folder, or a folder of them.") var folder: String
    @Option(help: "The largest error that passes.") var limit: Float = 1e-4
    @OptionGroup var engine: EngineOptions

    func run() throws {
        var worst: Float = 0
        for result in try Parity.run(directory: folder, compute: try engine.compute()) {
            print("\(result.name)\t\(result.error)")
            worst = max(worst, result.error)
        }
        guard worst <= limit else {
            complain("an error of \(worst) is over the limit of \(limit)")
            throw ExitCode.failure
        }
    }
}
