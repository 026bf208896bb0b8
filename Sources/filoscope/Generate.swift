import ArgumentParser
import Client

struct Generate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a video from a prompt.",
        discussion: """
            Without -o the file is named after the video. The format follows the file's ending: mp4, avi, y4m,
            or jpg for a sheet of all frames. `filoscope models` tells which sizes and lengths can be made.
            """)

    @Argument(help: "What the video shows: a subject, what it does, and where.")
    var prompt: String
    @Option(help: ArgumentHelp("Width and height.", valueName: "WxH"))
    var size: String?
    @Option(help: ArgumentHelp("Length; rounded up to what the model can make.", valueName: "N"))
    var seconds: Double?
    @Flag(help: "The video ends where it begins, so that it can be shown over and over.")
    var loop = false
    @Option(
        help: ArgumentHelp(
            "A JPEG or PNG that the video begins with; \"camera\" is what the daemon's camera sees now.",
            valueName: "file"))
    var image: String?
    @Flag(help: "With --image camera: everybody whom it sees agrees to that. The video is marked.")
    var consent = false
    @Option(help: ArgumentHelp("A JPEG or PNG that the video ends with.", valueName: "file"))
    var endImage: String?
    @Option(help: ArgumentHelp("One of `filoscope models`.", valueName: "name"))
    var model: String?
    @OptionGroup var making: MakingOptions

    func validate() throws {
        if let seconds, !(seconds > 0 && seconds <= 3600) {
            throw ValidationError("--seconds: more than 0, at most 3600")
        }
    }

    func run() throws {
        var request = CreateVideo(prompt: prompt, making)
        request.model = model
        request.size = size
        request.seconds = seconds.map(text)
        if loop { request.loop = true }
        request.input_reference = try image.map { $0 == "camera" ? .camera : Picture(file: try read($0)) }
        if consent { request.consent = true }
        request.end_reference = try endImage.map { Picture(file: try read($0)) }
        let filled = request
        try making.make { try $0.create(filled) }
    }
}

/// Seconds as the OpenAI dialect has them.
func text(_ seconds: Double) -> String { seconds == seconds.rounded() ? String(Int(seconds)) : String(seconds) }

extension CreateVideo {
    init(prompt: String?, _ options: MakingOptions) {
        self.init(prompt: prompt)
        seed = options.seed
        steps = options.steps
        guidance = options.guidance
        negative_prompt = options.negativePrompt
    }
}
