import ArgumentParser
import Client
import Glibc

struct Generate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a video from a prompt.",
        discussion: """
            Without -o the file is named after the video. The format follows the file's ending: mp4, avi, y4m,
            or jpg for a sheet of all frames. `filoscope models` tells which sizes and lengths can be made.
            """)

    @Argument(help: "What the video shows: a subject, what it does, and where.")
    var prompt: String
    @Option(
        name: [.customShort("o"), .long],
        help: ArgumentHelp("The file to write; - is standard output.", valueName: "file"))
    var output: String?
    @Option(help: ArgumentHelp("Width and height.", valueName: "WxH"))
    var size: String?
    @Option(help: ArgumentHelp("Length; rounded up to what the model can make.", valueName: "N"))
    var seconds: Double?
    @Option(help: ArgumentHelp("The same seed and request give the same frames.", valueName: "N"))
    var seed: UInt64?
    @Option(help: ArgumentHelp("Denoising steps: fewer are faster, more are cleaner.", valueName: "N"))
    var steps: Int?
    @Option(help: ArgumentHelp("How closely to keep to the prompt; 1 is not at all enforced.", valueName: "X"))
    var guidance: Double?
    @Option(help: ArgumentHelp("What should not be seen.", valueName: "text"))
    var negativePrompt: String?
    @Option(help: ArgumentHelp("A JPEG or PNG that the video begins with.", valueName: "file"))
    var image: String?
    @Option(help: ArgumentHelp("A JPEG or PNG that the video ends with.", valueName: "file"))
    var endImage: String?
    @Option(help: ArgumentHelp("One of `filoscope models`.", valueName: "name"))
    var model: String?
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
        if let seconds, !(seconds > 0 && seconds <= 3600) {
            throw ValidationError("--seconds: more than 0, at most 3600")
        }
        if noWait, output != nil || previewDir != nil {
            throw ValidationError("--no-wait leaves before there is a file; use `filoscope save ID -o FILE` later")
        }
    }

    func run() throws {
        let daemon = connection.daemon
        if let previewDir, mkdir(previewDir, 0o777) != 0, errno != EEXIST {
            say("filoscope: \(previewDir): \(String(cString: strerror(errno)))")
            throw ExitCode(Exit.cannotWrite)
        }
        var request = CreateVideo(prompt: prompt)
        request.model = model
        request.size = size
        request.seconds = seconds.map { $0 == $0.rounded() ? String(Int($0)) : String($0) }
        request.seed = seed
        request.steps = steps
        request.guidance = guidance
        request.negative_prompt = negativePrompt
        request.input_reference = try image.map { Picture(file: try read($0)) }
        request.end_reference = try endImage.map { Picture(file: try read($0)) }

        let created = try reporting { try daemon.create(request) }
        try Ending(
            output: output, format: format, previewDir: previewDir, noWait: noWait, quiet: quiet, connection: connection
        ).wait(for: created)
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
