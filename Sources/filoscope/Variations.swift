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

struct Edit: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Change a video: a finished one, or a file (an MP4 of H.264, an AVI of Motion JPEG, or a Y4M).",
        discussion: "What moves where stays at low strength; at 1 nothing of the old video is left.")
    @Argument(help: "The video's id, or a file; \"camera\" is what the daemon's camera sees from now on.")
    var video: String
    @Argument(help: "What the video shows now.") var prompt: String
    @Option(help: ArgumentHelp("How much changes: above 0, at most 1. Default: 0.7.", valueName: "X"))
    var strength: Double?
    @Flag(help: "With camera: everybody whom it sees agrees to that. The video is marked.") var consent = false
    @Option(help: ArgumentHelp("With camera: how long it looks, at most 10. Default: 2.", valueName: "N"))
    var seconds: Double?
    @Option(help: ArgumentHelp("A JPEG or PNG, white where the video changes.", valueName: "file")) var mask: String?
    @OptionGroup var making: MakingOptions

    func run() throws {
        var request = CreateVideo(prompt: prompt, making)
        let isID = video.hasPrefix("video_") && !video.contains(".") || video == "camera"
        if consent { request.consent = true }
        request.seconds = seconds.map(text)
        request.video = isID ? video : dataURL(ofVideo: try read(video))
        request.strength = strength
        request.mask = try mask.map { Picture(file: try read($0)) }
        let filled = request
        try making.make { try $0.edit(filled) }
    }
}

struct Storyboard: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a video from several prompts, one after another.",
        discussion: """
            Each scene is SECONDS:PROMPT, the first at 0; one becomes the next around its beginning:
              filoscope storyboard "0:a frog bouncing in the snow" "4:a frog bouncing at night" --seconds 8
            """)
    @Argument(help: ArgumentHelp("Where a scene begins, and what it shows.", valueName: "seconds:prompt"))
    var scenes: [String]
    @Option(help: ArgumentHelp("Length of the whole.", valueName: "N")) var seconds: Double?
    @Option(help: ArgumentHelp("Width and height.", valueName: "WxH")) var size: String?
    @OptionGroup var making: MakingOptions

    func run() throws {
        var request = CreateVideo(prompt: nil, making)
        request.seconds = seconds.map(text)
        request.size = size
        request.storyboard = try scenes.map { scene in
            let parts = scene.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, let at = Double(parts[0]), at.isFinite else {
                throw ValidationError("'\(scene)' is no scene; it must be as in 4:a frog at night")
            }
            return Scene(prompt: String(parts[1]), at: at)
        }
        let filled = request
        try making.make { try $0.create(filled) }
    }
}

struct Blend: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lead from one finished video to another.",
        discussion: "The new video contains both, every frame as it was, and what is between them.")
    @Argument(help: "The id of the video it begins with.") var from: String
    @Argument(help: "The id of the video it ends with.") var to: String
    @Option(help: ArgumentHelp("What is seen between. Default: from one's prompt to the other's.", valueName: "text"))
    var prompt: String?
    @Option(help: ArgumentHelp("Length of what is between.", valueName: "N")) var seconds: Double?
    @OptionGroup var making: MakingOptions

    func run() throws {
        var request = CreateVideo(prompt: prompt, making)
        (request.from, request.to) = (from, to)
        request.seconds = seconds.map(text)
        let filled = request
        try making.make { try $0.blend(filled) }
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
        let image = try reporting { try connection.daemon.image(filled) }
        try write(image.file, to: output)
        if connection.json {
            try printJSON(reporting { try connection.daemon.video(image.id) })
        } else if output != "-" {
            print(output)
        }
    }
}
