import ArgumentParser
import Client

struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Your videos, newest first.")
    @Option(help: ArgumentHelp("How many at most (1 to 100).", valueName: "N"))
    var limit = 20
    @Option(help: ArgumentHelp("Those after this one.", valueName: "id"))
    var after: String?
    @OptionGroup var connection: Connection

    func validate() throws {
        guard (1...100).contains(limit) else { throw ValidationError("--limit: 1 to 100") }
    }

    func run() throws {
        let page = try reporting { try connection.daemon.videos(limit: limit, after: after) }
        if connection.json { return try printJSON(page) }
        for video in page.data {
            let state = video.status == "in_progress" ? "\(video.progress) %" : video.status
            print("\(video.id)  \(state)\t\(video.size)\t\(video.seconds) s\t\(video.prompt)")
        }
    }
}

struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One video in full.")
    @Argument(help: "The video's id.") var id: String
    @OptionGroup var connection: Connection

    func run() throws {
        let video = try reporting { try connection.daemon.video(id) }
        if connection.json { return try printJSON(video) }
        let facts: [(String, String?)] = [
            ("id", video.id), ("status", video.status), ("progress", "\(video.progress) %"),
            ("position", video.queue_position.map { String($0) }), ("left", video.eta_ms.map { "\($0) ms" }),
            ("prompt", video.prompt), ("model", video.model), ("size", video.size), ("seconds", video.seconds),
            ("frames", video.frames.map { String($0) }), ("fps", video.fps.map { String($0) }),
            ("seed", video.seed.map { String($0) }), ("sha256", video.frames_sha256),
            ("error", video.error.map { "\($0.message) (\($0.code))" }),
        ]
        for case (let name, let value?) in facts {
            print(name + String(repeating: " ", count: 10 - name.count) + value)
        }
    }
}

struct Watch: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Follow a video until it is done.")
    @Argument(help: "The video's id.") var id: String
    @Option(help: ArgumentHelp("Write each step's preview into this folder, which exists.", valueName: "dir"))
    var previewDir: String?
    @Option(
        help: ArgumentHelp("Show previews and the video on this video output, as v4l2loopback's.", valueName: "device"))
    var to: String?
    @Flag(help: "With --to: show the video again and again, until interrupted.")
    var loop = false
    @OptionGroup var connection: Connection

    func validate() throws {
        guard !loop || to != nil else { throw ValidationError("--loop goes with --to") }
    }

    func run() throws {
        Interruption.install(id: id)
        let (video, screen) = try reporting {
            let screen = try to.map { try Screen(device: $0, video: connection.daemon.video(id)) }
            var following = Following(daemon: connection.daemon, quiet: connection.json, previewDirectory: previewDir)
            following.screen = screen
            return (try following.follow(id), screen)
        }
        if let screen, video.status == "completed" {
            try screen.play(
                reporting { try connection.daemon.content(id, variant: "video", format: "avi") }, loop: loop)
        }
        guard video.status == "completed" else { throw report(failed: video, json: connection.json) }
        try connection.json ? printJSON(video) : print("completed")
    }
}

struct Save: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Write a finished video to a file.")
    @Argument(help: "The video's id.") var id: String
    @Option(
        name: [.customShort("o"), .long],
        help: ArgumentHelp("The file to write; - is standard output.", valueName: "file"))
    var output: String?
    @Option(help: ArgumentHelp("mp4, avi, y4m or jpg, whatever the file is called.", valueName: "name"))
    var format: String?
    @Flag(help: "A single picture instead of the video.")
    var thumbnail = false
    @OptionGroup var connection: Connection

    func run() throws {
        let chosen = thumbnail ? "jpg" : format ?? output.flatMap(filoscope.format(ofFile:)) ?? "mp4"
        let variant = thumbnail ? "thumbnail" : chosen == "jpg" ? "spritesheet" : "video"
        let path = output ?? "\(id).\(chosen)"
        let bytes = try reporting { try connection.daemon.content(id, variant: variant, format: chosen) }
        try write(bytes, to: path)
        if path != "-" { print(path) }
    }
}

struct Cancel: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Stop a video that is queued or being made.")
    @Argument(help: "The videos' ids.") var ids: [String]
    @OptionGroup var connection: Connection

    func run() throws {
        for id in ids {
            let video = try reporting { try connection.daemon.cancel(id) }
            try connection.json ? printJSON(video) : print("\(id) cancelled")
        }
    }
}

struct Delete: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Remove videos, finished or not.")
    @Argument(help: "The videos' ids.") var ids: [String]
    @OptionGroup var connection: Connection

    func run() throws {
        for id in ids {
            try reporting { try connection.daemon.delete(id) }
            if !connection.json { print("\(id) deleted") }
        }
    }
}

struct Models: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The models and what they can make.")
    @Flag(help: "The words that each model was trained to understand.") var words = false
    @OptionGroup var connection: Connection

    func run() throws {
        guard words else {
            let bytes = try reporting { try connection.daemon.get("/v1/capabilities") }
            return print(String(decoding: bytes, as: UTF8.self))
        }
        let models = try reporting { try connection.daemon.words() }
        if connection.json { return try printJSON(models) }
        for model in models {
            guard let words = model.words else {
                print("\(model.id): its card names no words")
                continue
            }
            print("\(model.id): a subject, what it does, and where")
            for (title, list) in [("subjects", words.subjects), ("motions", words.motions), ("places", words.places)] {
                print("\(title):")
                for phrases in list { print("  " + phrases.joined(separator: ", ")) }
            }
        }
    }
}

struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "How the daemon is doing.")
    @OptionGroup var connection: Connection

    func run() throws {
        let bytes = try reporting { try connection.daemon.get("/state") }
        print(String(decoding: bytes, as: UTF8.self))
    }
}
