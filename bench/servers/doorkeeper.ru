# frozen_string_literal: true

# A real Doorkeeper in one file, to put in front of Evergrant; see README.md beside it. For trials on loopback only.
#
#   DATABASE_URL   an empty PostgreSQL database          COLUMN    1: `on_use`, 0: `immediate`
#   LIFETIME       seconds of an access token            REUSE     1: reuse_access_token
#   HASH           1: tokens are stored as digests (hash_token_secrets), and the table shows those
require "rails"
require "active_record/railtie"
require "action_controller/railtie"
require "action_view/railtie"
require "doorkeeper"

COLUMN = ENV.fetch("COLUMN", "1") == "1"
LIFETIME = Integer(ENV.fetch("LIFETIME", "20"))
User = Struct.new(:id)

class Trial < Rails::Application
  config.root = __dir__
  config.load_defaults 7.2
  config.eager_load = false
  config.secret_key_base = "not a secret " * 5
  config.logger = Logger.new($stderr, level: Logger::WARN)
  config.hosts.clear
end

Doorkeeper.configure do
  orm :active_record
  base_controller "ActionController::Base"
  resource_owner_authenticator { User.new(params.fetch(:user, 0).to_i) } # whoever asks is user 0, or `&user=7`
  skip_authorization { true }
  access_token_expires_in LIFETIME
  use_refresh_token
  reuse_access_token if ENV["REUSE"] == "1"
  hash_token_secrets if ENV["HASH"] == "1"
  default_scopes :crm_read
  optional_scopes :crm_manage
  grant_flows %w[authorization_code]
  force_ssl_in_redirect_uri false
end

Trial.initialize!

# Doorkeeper's own migration, with or without the one column that decides what happens to an old refresh token.
ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define do
  next if table_exists?(:oauth_applications)

  create_table :oauth_applications do |t|
    t.string :name, null: false
    t.string :uid, null: false, index: { unique: true }
    t.string :secret, null: false
    t.text :redirect_uri, null: false
    t.string :scopes, null: false, default: ""
    t.boolean :confidential, null: false, default: true
    t.timestamps null: false
  end
  create_table :oauth_access_grants do |t|
    t.references :resource_owner, null: false
    t.references :application, null: false
    t.string :token, null: false, index: { unique: true }
    t.integer :expires_in, null: false
    t.text :redirect_uri, null: false
    t.string :scopes, null: false, default: ""
    t.datetime :created_at, null: false
    t.datetime :revoked_at
  end
  create_table :oauth_access_tokens do |t|
    t.references :resource_owner
    t.references :application, null: false
    t.string :token, null: false, index: { unique: true }
    t.string :refresh_token, index: { unique: true }
    t.integer :expires_in
    t.string :scopes
    t.datetime :created_at, null: false
    t.datetime :revoked_at
    t.string :previous_refresh_token, null: false, default: "" if COLUMN
  end
end

CLIENT = Doorkeeper::Application.find_or_create_by!(uid: "trial") do |application|
  application.name = "trial"
  application.secret = "s3cret"
  application.redirect_uri = "http://127.0.0.1:8765/callback"
end

class BookingsController < ActionController::API
  before_action :doorkeeper_authorize!

  def index
    return render(json: { error: "X-API-ORG is missing" }, status: 400) if request.headers["X-API-ORG"].blank?

    render json: { data: [] }
  end
end

# The door for trials: consents as lines for `grants import`, and the server's own table as the judge.
class TrialController < ActionController::API
  def seed
    first = params.fetch(:first, 1).to_i
    render plain: (first...(first + params[:n].to_i)).map { |owner| line(owner) }.join
  end

  def table
    rows = Doorkeeper::AccessToken.order(:id)
    render json: rows.map { |t| { owner: t.resource_owner_id, refresh_token: t.refresh_token, revoked: t.revoked? } }
  end

  private

  def line(owner)
    made = Doorkeeper::AccessToken.create!(application: CLIENT, resource_owner_id: owner, scopes: "crm_read",
                                           expires_in: LIFETIME, use_refresh_token: true)
    { ref: "customer-#{owner}", access_token: made.plaintext_token, refresh_token: made.plaintext_refresh_token, expires_in: LIFETIME,
      created_at: made.created_at.to_i, labels: { org: "org-#{owner}" } }.to_json << "\n"
  end
end

Rails.application.routes.draw do
  use_doorkeeper
  get "/v2/bookings", to: "bookings#index"
  post "/trial/seed", to: "trial#seed"
  get "/trial/table", to: "trial#table"
end

run Rails.application
