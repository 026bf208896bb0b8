import ArgumentParser

@main
struct FiloscopeBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "filoscope-bench",
        abstract: "Measures and checks the engine, without a daemon.",
        version: "0.1.0",
        subcommands: [
            Levels.self, LimitsBench.self, LinearBench.self, Attention.self, Convolutions.self, Decode.self, Step.self,
            JobBench.self, Report.self, Verify.self, ParityCheck.self, Render.self, Compare.self, Coherence.self,
        ]
    )
}
