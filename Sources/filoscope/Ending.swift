import ArgumentParser
import Client
import Glibc

/// What all verbs take that make a video, and do with it: follow it to its end and write it to a file, or leave it to the
/// daemon.
struct MakingOptions: ParsableArguments {
    @Option(
        name: [.customShort("o"), .long],
        help: ArgumentHelp("The file to write; - is standard output.", valueName: "file"))
    var output: String?
    @Option(help: ArgumentHelp("The same seed and request give the same frames.", valueName: "N"))
    var seed: UInt64?
    @Option(help: ArgumentHelp("Denoising steps: fewer are faster, more are cleaner.", valueName: "N"))
    var steps: Int?
    @Option(help: ArgumentHelp("How closely to keep to the prompt; 1 is not at all enforced.", valueName: "X"))
    var guidance: Double?
    @Option(help: ArgumentHelp("What should not be seen.", valueName: "text"))
    var negativePrompt: String?
    @Option(help: ArgumentHelp("mp4, avi, y4m or jpg, whatever the file is called.", valueName: "name"))
    var format: String?
    @Option(help: ArgumentHelp("Write each step's preview into this folder.", valueName: "dir"))
    var previewDir: String?
    @Flag(help: "Print the video's id and leave; the daemon goes on.")
    var noWait = false
    @Flag(name: .shortAndLong, help: "No progress.")
    var quiet = false
    @OptionGroup var connection: Connection

    func validate() throws {
        if noWait, output != nil || previewDir != nil {
            throw ValidationError("--no-wait leaves before there is a file; use `filoscope save ID -o FILE` later")
        }
    }

    /// Asks for the video and stays with it.
    func make(_ create: (Daemon) throws -> Video) throws {
        if let previewDir, mkdir(previewDir, 0o777) != 0, errno != EEXIST {
            say("filoscope: \(previewDir): \(String(cString: strerror(errno)))")
            throw ExitCode(Exit.cannotWrite)
        }
        let daemon = connection.daemon
        let created = try reporting { try create(daemon) }
        if noWait {
            try connection.json ? printJSON(created) : print(created.id)
            return
        }
        Interruption.install(id: created.id)
        let finished = try reporting {
            try Following(daemon: daemon, quiet: quiet || connection.json, previewDirectory: previewDir)
                .follow(created.id)
        }
        guard finished.status == "completed" else { throw report(failed: finished, json: connection.json) }
        let chosen = format ?? output.flatMap(filoscope.format(ofFile:)) ?? "mp4"
        let path = output ?? "\(finished.id).\(chosen)"
        let bytes = try reporting {
            try daemon.content(finished.id, variant: chosen == "jpg" ? "spritesheet" : "video", format: chosen)
        }
        try write(bytes, to: path)
        if connection.json {
            try printJSON(finished)
        } else if path != "-" {
            print(path)
        }
    }
}

/// Says why a video failed; the exit code for it.
func report(failed video: Video, json: Bool) -> ExitCode {
    if json { try? printJSON(video) }
    say("filoscope: \(video.error?.message ?? "the video failed") (\(video.error?.code ?? "failed"))")
    return ExitCode(Exit.videoFailed)
}

/// Ctrl-C leaves the job with the daemon and says how to come back to it.
enum Interruption {
    nonisolated(unsafe) private static var message: [UInt8] = []

    static func install(id: String) {
        message = Array(
            "\nfiloscope: the video goes on; `filoscope watch \(id)` follows it, `filoscope cancel \(id)` ends it\n"
                .utf8)
        signal(SIGINT) { _ in
            Interruption.message.withUnsafeBytes { _ = Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
            _exit(Exit.interrupted)
        }
    }
}
