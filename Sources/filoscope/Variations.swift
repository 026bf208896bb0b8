import ArgumentParser
import Client

struct Extend: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Continue a finished video, or show what came before it.",
        discussion: "The new video contains the old one, every frame as it was.")
    @Argument(help: "The video's id.") var id: String
    @Argument(help: "What the new part shows.") var prompt: String
    @Flag(help: "Add in front instead of behind.") var backward = false
    @Option(help: ArgumentHelp("How much is added.", valueName: "N")) var seconds: Double?
    @OptionGroup var making: MakingOptions

    func run() throws {
        var request = CreateVideo(prompt: prompt, making)
        request.video = id
        request.direction = backward ? "backward" : "forward"
        request.seconds = seconds.map(text)
        let filled = request
        try making.make { try $0.extend(filled) }
    }
}

struct Remix: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a finished video again with another prompt, from the same seed.")
    @Argument(help: "The video's id.") var id: String
    @Argument(help: "What the video shows now.") var prompt: String
    @OptionGroup var making: MakingOptions

    func run() throws {
        let request = CreateVideo(prompt: prompt, making)
        try making.make { try $0.remix(id, request) }
    }
}

struct Image: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a still picture from a prompt.")
    @Argument(help: "What the picture shows.") var prompt: String
    @Option(
        name: [.customShort("o"), .long],
        help: ArgumentHelp("The file to write, png or jpg; - is standard output, a png.", valueName: "file"))
    var output: String
    @Option(help: ArgumentHelp("Width and height.", valueName: "WxH")) var size: String?
    @Option(help: ArgumentHelp("The same seed and request give the same picture.", valueName: "N")) var seed: UInt64?
    @Option(help: ArgumentHelp("Denoising steps.", valueName: "N")) var steps: Int?
    @OptionGroup var connection: Connection

    func run() throws {
        var request = CreateImage(prompt: prompt, format: filoscope.format(ofFile: output) == "jpg" ? "jpeg" : "png")
        request.size = size
        request.seed = seed
        request.steps = steps
        let filled = request
        try write(reporting { try connection.daemon.image(filled) }, to: output)
        if output != "-" { print(output) }
    }
}
