# A Rails application with the relay ingress of Action Mailbox and nothing else. Prints each message that it keeps.
require "rails"
require "active_record/railtie"
require "active_storage/engine"
require "action_controller/railtie"
require "action_mailbox/engine"
require "digest"

FOLDER = ARGV.fetch(1)

class App < Rails::Application
  config.load_defaults 6.1
  config.eager_load = false
  config.root = FOLDER
  config.secret_key_base = "x" * 64
  config.hosts.clear
  config.logger = Logger.new(nil)
  config.active_storage.service = :disk
  config.active_storage.service_configurations = { disk: { service: "Disk", root: FOLDER } }
  config.action_mailbox.ingress = :relay
  config.active_job.queue_adapter = :async
end

class ApplicationMailbox < ActionMailbox::Base
  routing all: :keep
end

class KeepMailbox < ApplicationMailbox
  def process
    puts "#{mail.recipients.join(",")} #{mail.subject} #{Digest::SHA256.hexdigest(inbound_email.source)}"
    $stdout.flush
  end
end

ENV["DATABASE_URL"] = "sqlite3:#{FOLDER}/db.sqlite3"
App.initialize!
ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define do
  create_table(:active_storage_blobs) do |t|
    t.string :key, null: false
    t.string :filename, null: false
    t.string :content_type
    t.text :metadata
    t.string :service_name, null: false
    t.bigint :byte_size, null: false
    t.string :checksum, null: false
    t.datetime :created_at, null: false
  end
  create_table(:active_storage_attachments) do |t|
    t.string :name, null: false
    t.references :record, null: false, polymorphic: true, index: false
    t.references :blob, null: false
    t.datetime :created_at, null: false
  end
  create_table(:action_mailbox_inbound_emails) do |t|
    t.integer :status, default: 0, null: false
    t.string :message_id, null: false
    t.string :message_checksum, null: false
    t.timestamps
    t.index %i[message_id message_checksum], name: "index_action_mailbox_inbound_emails_uniqueness", unique: true
  end
end

require "puma"
require "puma/server"
server = Puma::Server.new(App)
server.add_tcp_listener("127.0.0.1", Integer(ARGV.fetch(0)))
server.run.join
