import ArgumentParser
import Camera
import Client
import Glibc
import Media
import Video

/// A video output node for one video; who asked for it waits for it, so what is wrong with it ends the program.
struct Screen {
    private let output: VideoOutput
    private let path: String

    /// Opens `device` for frames of `video`.
    init(device: String, video: Client.Video) throws {
        path = device
        guard let size = Size(video.size) else { throw ClientError.malformed("a video of size \(video.size)") }
        do throws(CameraError) {
            output = try VideoOutput(path: device, size: size, fps: video.fps ?? 8)
        } catch {
            say("filoscope: \(error)")
            throw ExitCode(Exit.cannotWrite)
        }
        say("\(device) takes \(output.format.pixels.rawValue) \(output.format.size)")
    }

    /// Writes one picture; a node without room loses it.
    func show(_ jpeg: [UInt8]) throws {
        do {
            _ = try output.write(output.packet(jpeg), atMost: 100)
        } catch {
            say("filoscope: \(path): \(error)")
            throw ExitCode(Exit.cannotWrite)
        }
    }

    /// Shows a finished video at its rate, once or until the program is interrupted.
    func play(_ avi: [UInt8], loop: Bool) throws {
        let contents: AVI.Contents
        do throws(MediaError) {
            contents = try AVI.read(avi)
        } catch {
            say("filoscope: the video can't be read: \(error)")
            throw ExitCode(Exit.refused)
        }
        var due = Self.now()
        repeat {
            for jpeg in contents.jpegs {
                try show(jpeg)
                due += 1 / Double(contents.fps)
                usleep(UInt32(max(0, due - Self.now()) * 1e6))
            }
        } while loop
    }

    private static func now() -> Double { DeviceOperations.libv4l2.now() }
}
